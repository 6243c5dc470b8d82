//! The daemon's life: open the store, bind everything, serve, reload on SIGHUP, drain on SIGTERM.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use auth::{Authority, Peer, Role, Secret};
use protocol::{Listener, Module, PassivePorts, Protocol, Services, Shutdown, TlsMode};
use sd_notify::NotifyState;
use storage::{Actor, NewAccount, Store};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::config::{Config, Listen};
use crate::listen::{self, Current, Door, Places};
use crate::modules::{self, MODULES};
use crate::tls::Tls;
use crate::{commands, control, telemetry};

/// How long a browser stays logged in.
const WEB_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// What runs.
struct Daemon {
    store: Store,
    tls: Tls,
    passive: Arc<PassivePorts>,
    places: Arc<Places>,
    stop: Shutdown,
    protocols: HashMap<&'static str, Current>,
    /// Every listener that is bound, with its accept loop.
    listening: HashMap<(String, SocketAddr, &'static str, TlsMode), JoinHandle<()>>,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// One sentence, when it cannot start.
pub(crate) async fn serve(config: Config, reload: &dyn Fn() -> Result<Config, String>) -> Result<(), String> {
    let level = telemetry::log(&config.log)?;
    let metrics = telemetry::metrics()?;
    raise_file_limit();
    let store = commands::open_store(&config).await?;
    let authority = authority(&store, &config)?;
    let admin = first_admin(&store, &authority).await?;
    let (trigger, stop) = Shutdown::channel();
    let mut daemon = Daemon {
        tls: Tls::new(&config)?,
        passive: PassivePorts::new(config.passive_ports.clone()),
        places: Places::new(config.limits.clone()),
        stop: stop.clone(),
        protocols: HashMap::new(),
        listening: HashMap::new(),
        store: store.clone(),
    };
    daemon.build(&config, &authority)?;
    daemon.listen(&config.listen)?;
    telemetry::serve(&config.telemetry.bind, &metrics, &stop)?;
    let maintenance = tokio::spawn({
        let store = store.clone();
        async move { store.maintain().await }
    });
    let state =
        control::State { store: store.clone(), authority, places: daemon.places.clone(), since: Instant::now() };
    let control = control::serve(&config.data, state)?;
    commands::print(&banner(&config, admin.as_deref()));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), data = %config.data.display(), "ready");
    notify(&[NotifyState::Ready]);

    let mut hangup = signal(SignalKind::hangup()).map_err(|error| error.to_string())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let mut drain = config.drain();
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                notify(&[NotifyState::Reloading, NotifyState::monotonic_usec_now().unwrap_or(NotifyState::Reloading)]);
                match daemon.reload(reload, &level) {
                    Ok(config) => {
                        drain = config.drain();
                        tracing::info!("the configuration and the certificate were read anew");
                    }
                    Err(error) => tracing::error!(error, "nothing was changed, since the configuration is wrong"),
                }
                notify(&[NotifyState::Ready]);
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    notify(&[NotifyState::Stopping]);
    trigger.trigger();
    daemon.drain(drain, &mut terminate, &mut interrupt).await;
    control.abort();
    maintenance.abort();
    Ok(())
}

fn notify(states: &[NotifyState<'_>]) {
    // Outside of systemd there is nobody to tell.
    let _ = sd_notify::notify(false, states);
}

/// Many idle connections need many file descriptors; the hard limit is the administrator's.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

pub(crate) fn authority(store: &Store, config: &Config) -> Result<Arc<Authority>, String> {
    Authority::new(store.clone(), config.auth.clone(), WEB_LIFETIME).map_err(|error| format!("[auth] {error}"))
}

/// Makes the `admin` account of a new store; its password.
async fn first_admin(store: &Store, authority: &Authority) -> Result<Option<String>, String> {
    if !store.accounts().await.map_err(|error| error.to_string())?.is_empty() {
        return Ok(None);
    }
    let password = commands::new_password()?;
    let verifier = authority.verifier(Secret::new(password.clone())).await?;
    let actor = Actor { account: None, name: String::new(), peer: Peer::command_line() };
    let admin = NewAccount { name: "admin".into(), role: Role::Admin, quota: None, verifier: Some(verifier) };
    store.add_account(&actor, admin).await.map_err(|error| error.to_string())?;
    Ok(Some(password))
}

impl Daemon {
    /// Makes every protocol from its part of the configuration; connections to come use the new ones.
    fn build(&mut self, config: &Config, authority: &Arc<Authority>) -> Result<(), String> {
        let services = Services { auth: authority.clone(), hostname: config.hostname.as_str().into() };
        let mut built: Vec<(&'static Module, Arc<dyn Protocol>)> = Vec::new();
        for module in MODULES {
            let table = config.modules.get(module.name).cloned().unwrap_or_default();
            let protocol = (module.build)(table, services.clone())
                .map_err(|error| crate::config::explain(error.module, &error.message))?;
            built.push((module, protocol));
        }
        for (module, protocol) in built {
            if let Some(work) = protocol.clone().background(self.stop.clone()) {
                tokio::spawn(work);
            }
            match self.protocols.get(module.name) {
                Some(current) => *current.write().unwrap_or_else(PoisonError::into_inner) = protocol,
                None => drop(self.protocols.insert(module.name, Arc::new(RwLock::new(protocol)))),
            }
        }
        Ok(())
    }

    /// Binds what is wanted and not bound yet, then lets go of what is no longer wanted.
    fn listen(&mut self, wanted: &[Listen]) -> Result<(), String> {
        let mut keys = Vec::new();
        let mut fresh = Vec::new();
        for listen in wanted {
            for &address in &listen.bind {
                let key = (listen.name.clone(), address, listen.protocol, listen.tls);
                if !self.listening.contains_key(&key) {
                    // One that only changed its name or mode holds the address still.
                    let holder = self.listening.keys().find(|held| held.1 == address).cloned();
                    if let Some(task) = holder.and_then(|held| self.listening.remove(&held)) {
                        task.abort();
                    }
                    fresh.push((key.clone(), listen::bind(address)?));
                }
                keys.push(key);
            }
        }
        for (key, socket) in fresh {
            let Some((module, protocol)) = modules::speaking(key.2) else { continue };
            let Some(current) = self.protocols.get(module.name) else { continue };
            let listener = Arc::new(Listener {
                name: key.0.clone(),
                protocol,
                mode: key.3,
                tls: (key.3 != TlsMode::None).then(|| self.tls.service(module)).flatten(),
                passive: self.passive.clone(),
            });
            let door = Door {
                listener,
                module: module.name,
                protocol: current.clone(),
                places: self.places.clone(),
                stop: self.stop.clone(),
            };
            self.listening.insert(key, listen::accept(socket, door));
        }
        self.listening.retain(|key, task| {
            let stays = keys.contains(key);
            if !stays {
                task.abort();
            }
            stays
        });
        Ok(())
    }

    /// Reads the configuration and the certificate anew. When anything is wrong with them nothing changes.
    fn reload(
        &mut self,
        load: &dyn Fn() -> Result<Config, String>,
        level: &telemetry::LevelHandle,
    ) -> Result<Config, String> {
        let config = load()?;
        let filter = telemetry::filter(&config.log)?;
        let authority = authority(&self.store, &config)?;
        self.tls.reload(&config)?;
        self.build(&config, &authority)?;
        self.places.set_limits(config.limits.clone());
        self.listen(&config.listen)?;
        level.reload(filter).map_err(|error| error.to_string())?;
        Ok(config)
    }

    /// Waits for running work to end, for as long as the configuration says; a second signal ends the wait.
    async fn drain(
        &mut self,
        longest: Duration,
        terminate: &mut tokio::signal::unix::Signal,
        interrupt: &mut tokio::signal::unix::Signal,
    ) {
        for task in self.listening.values() {
            task.abort();
        }
        tracing::info!(connections = self.places.taken(), "draining");
        let empty = async {
            while self.places.taken() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = empty => tracing::info!("stopped"),
            () = tokio::time::sleep(longest) => {
                tracing::warn!(connections = self.places.taken(), "stopped while some were at work");
            }
            _ = terminate.recv() => tracing::warn!("stopped at once"),
            _ = interrupt.recv() => tracing::warn!("stopped at once"),
        }
    }
}

/// What listens where, and what to try first.
fn banner(config: &Config, password: Option<&str>) -> String {
    let mut text = format!("Wharfinger {}\n\n", env!("CARGO_PKG_VERSION"));
    for listen in &config.listen {
        let tls = match listen.tls {
            TlsMode::None => "no TLS",
            TlsMode::Starttls => "TLS on the client's command",
            TlsMode::Implicit => "TLS from the first byte",
        };
        for address in &listen.bind {
            text.push_str(&format!(
                "  {:<12} {:<11} {:<22} {tls}\n",
                listen.name,
                listen.protocol,
                address.to_string()
            ));
        }
    }
    for address in &config.telemetry.bind {
        text.push_str(&format!(
            "  {:<12} {:<11} {:<22} /healthz and /metrics\n",
            "telemetry",
            "http",
            address.to_string()
        ));
    }
    text.push_str(&format!("\n  data         {}\n", config.data.display()));
    if let Some(password) = password {
        text.push_str(&format!("\n  account      admin\n  password     {password}   (shown once)\n"));
    }
    let tries = commands_to_try(config, password);
    if !tries.is_empty() {
        text.push_str("\nTry:\n");
        for line in tries {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}

fn commands_to_try(config: &Config, password: Option<&str>) -> Vec<String> {
    let program = std::env::args().next().unwrap_or_else(|| "wharfinger".into());
    let mut options = String::new();
    if let Some(file) = &config.file
        && file != Path::new("/etc/wharfinger/wharfinger.toml")
    {
        options.push_str(&format!(" --config {}", file.display()));
    }
    if config.data != Path::new("wharfinger-data") {
        options.push_str(&format!(" --data {}", config.data.display()));
    }
    let mut lines = vec![format!("{program}{options} user add alice")];
    let user = password.map_or_else(|| "admin".to_owned(), |password| format!("admin:{password}"));
    let port = |protocol, tls| {
        let listen = config.listen.iter().find(|listen| listen.protocol == protocol && listen.tls == tls)?;
        listen.bind.first().map(SocketAddr::port)
    };
    if let Some(port) = port("https", TlsMode::Implicit) {
        lines.push(format!("echo hello | curl -k -u {user} -T - https://localhost:{port}/dav/hello.txt"));
    }
    if let Some(port) = port("ftp", TlsMode::Starttls) {
        lines.push(format!("curl -k --ssl-reqd -u {user} ftp://localhost:{port}/"));
    }
    lines
}
