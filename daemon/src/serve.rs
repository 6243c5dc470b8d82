//! The daemon's life: open the store, bind everything, serve, reload on SIGHUP, drain on SIGTERM.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use auth::{Authority, Role, Secret};
use protocol::{
    Listener, Module, Offered, PassivePorts, Protocol, Proxies, Services, Shutdown, ShutdownTrigger, TlsMode,
};
use sd_notify::NotifyState;
use storage::{Actor, NewAccount, Store};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::config::{Config, Listen};
use crate::listen::{self, Current, Door, Places};
use crate::modules::{self, MODULES};
use crate::tls::Tls;
use crate::{commands, control, published, telemetry};

/// How long a browser stays logged in.
const WEB_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// What runs.
struct Daemon {
    store: Store,
    tls: Tls,
    passive: Arc<PassivePorts>,
    places: Arc<Places>,
    proxies: Arc<Proxies>,
    stop: Shutdown,
    protocols: HashMap<&'static str, Current>,
    /// The work of protocols that no connection starts, and what ends it.
    background: HashMap<&'static str, (ShutdownTrigger, JoinHandle<()>)>,
    /// Every listener that is bound, with its accept loop.
    listening: HashMap<Key, (Arc<TcpListener>, JoinHandle<()>)>,
}

/// A listener's name, address, protocol and mode.
type Key = (String, SocketAddr, &'static str, TlsMode);

/// The protocols as a configuration wants them.
pub(crate) type Built = Vec<(&'static Module, Arc<dyn Protocol>)>;

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
    let proxies = Proxies::new(config.proxies.clone());
    let mut daemon = Daemon {
        tls: Tls::new(&config)?,
        passive: PassivePorts::behind(config.passive_ports.clone(), proxies.clone()),
        places: Places::new(config.limits.clone()),
        proxies,
        stop: stop.clone(),
        protocols: HashMap::new(),
        background: HashMap::new(),
        listening: HashMap::new(),
        store: store.clone(),
    };
    daemon.install(build(&config, &authority)?);
    let sockets = daemon.bind(&config.listen)?;
    daemon.listen(&config.listen, sockets);
    telemetry::serve(&config.telemetry.bind, &telemetry::Health { store: store.clone(), metrics, stop })?;
    let maintenance = tokio::spawn({
        let (store, authority) = (store.clone(), authority.clone());
        async move { tokio::join!(store.maintain(), store.index(), authority.watch()) }
    });
    let current = Arc::new(RwLock::new(Arc::new(config.clone())));
    let state = control::State {
        store: store.clone(),
        authority,
        config: current.clone(),
        places: daemon.places.clone(),
        since: Instant::now(),
    };
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
                        *current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
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
    let verifier = authority.verifier("admin", Secret::new(password.clone())).await?;
    let actor = Actor::command_line();
    let admin = NewAccount { name: "admin".into(), role: Role::Admin, quota: None, verifier: Some(verifier) };
    match store.add_account(&actor, admin).await {
        Ok(_) => Ok(Some(password)),
        // Another node has just started on the same store, and tells its own.
        Err(storage::Error::Exists) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Makes every protocol from its part of the configuration.
pub(crate) fn build(config: &Config, authority: &Arc<Authority>) -> Result<Built, String> {
    let services = Services {
        auth: authority.clone(),
        hostname: config.hostname.as_str().into(),
        listeners: config.listen.iter().flat_map(offered).collect(),
        mta_sts: published::mta_sts(config)?.map(|policy| policy.text().into()),
    };
    let mut built = Vec::new();
    for module in MODULES {
        let table = config.modules.get(module.name).cloned().unwrap_or_default();
        let protocol = (module.build)(table, services.clone())
            .map_err(|error| crate::config::explain(error.module, &error.message))?;
        built.push((*module, protocol));
    }
    Ok(built)
}

impl Daemon {
    /// Lets the connections to come use these protocols.
    fn install(&mut self, built: Built) {
        for (module, protocol) in built {
            let (trigger, stop) = Shutdown::channel();
            if let Some(work) = protocol.clone().background(stop) {
                // What ran by the configuration of before ends what it has begun.
                drop(self.background.insert(module.name, (trigger, tokio::spawn(work))));
            }
            match self.protocols.get(module.name) {
                Some(current) => *current.write().unwrap_or_else(PoisonError::into_inner) = protocol,
                None => drop(self.protocols.insert(module.name, Arc::new(RwLock::new(protocol)))),
            }
        }
    }

    /// A socket for every listener that is wanted and not there yet. An address whose listener only changed its name,
    /// protocol or mode keeps its socket, so that nobody is turned away meanwhile.
    fn bind(&self, wanted: &[Listen]) -> Result<Vec<(Key, Arc<TcpListener>)>, String> {
        let mut sockets: Vec<(Key, Arc<TcpListener>)> = Vec::new();
        for key in wanted.iter().flat_map(keys).filter(|key| !self.listening.contains_key(key)) {
            let holder = self.listening.iter().find(|(held, _)| held.1 == key.1);
            let socket = match holder {
                Some((_, (socket, _))) => socket.clone(),
                None => Arc::new(listen::bind(key.1)?),
            };
            sockets.push((key, socket));
        }
        Ok(sockets)
    }

    /// Lets go of what is no longer wanted and accepts on the new sockets.
    fn listen(&mut self, wanted: &[Listen], sockets: Vec<(Key, Arc<TcpListener>)>) {
        let wanted: Vec<Key> = wanted.iter().flat_map(keys).collect();
        self.listening.retain(|key, (_, task)| {
            let stays = wanted.contains(key);
            if !stays {
                task.abort();
            }
            stays
        });
        for (key, socket) in sockets {
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
                proxies: self.proxies.clone(),
                stop: self.stop.clone(),
            };
            let task = listen::accept(socket.clone(), door);
            self.listening.insert(key, (socket, task));
        }
    }

    /// Reads the configuration and the certificate anew. When anything is wrong with them nothing changes: what can
    /// fail comes first.
    fn reload(
        &mut self,
        load: &dyn Fn() -> Result<Config, String>,
        level: &telemetry::LevelHandle,
    ) -> Result<Config, String> {
        let config = load()?;
        let filter = telemetry::filter(&config.log)?;
        let authority = authority(&self.store, &config)?;
        let built = build(&config, &authority)?;
        let sockets = self.bind(&config.listen)?;
        self.tls.reload(&config)?;
        self.install(built);
        self.places.set_limits(config.limits.clone());
        self.proxies.set(config.proxies.clone());
        self.listen(&config.listen, sockets);
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
        for (_, (_, task)) in self.listening.drain() {
            task.abort();
        }
        tracing::info!(connections = self.places.taken(), "draining");
        self.background.values().for_each(|(trigger, _)| trigger.trigger());
        let empty = async {
            while self.places.taken() > 0 || self.background.values().any(|(_, work)| !work.is_finished()) {
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

/// What identifies the listeners of one table.
fn keys(listen: &Listen) -> impl Iterator<Item = Key> {
    listen.bind.iter().map(|&address| (listen.name.clone(), address, listen.protocol, listen.tls))
}

/// What the protocols are told of the listeners of one table; a port that is bound on several addresses is told once.
fn offered(listen: &Listen) -> impl Iterator<Item = Offered> {
    let ports: BTreeSet<u16> = listen.bind.iter().map(SocketAddr::port).collect();
    ports.into_iter().map(|port| Offered { protocol: listen.protocol, port, tls: listen.tls })
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
            "  {:<12} {:<11} {:<22} /healthz, /readyz, /metrics\n",
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
