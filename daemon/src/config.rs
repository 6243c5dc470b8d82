//! The configuration: defaults, a file, the environment. Every key is documented in `etc/wharfinger.toml`; an unknown
//! one is an error that names the nearest that is known.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::{Networks, TlsMode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use storage::{BlobStore, Engine, Postgres, PostgresTls, S3};

use crate::modules::{self, MODULES};

/// Where a packaged installation keeps its configuration.
const SYSTEM_FILE: &str = "/etc/wharfinger/wharfinger.toml";
/// Without a configuration every port is the standard one and this, so that no privilege is needed.
const OFFSET: u16 = 2000;

/// The whole configuration, checked.
#[derive(Clone)]
pub(crate) struct Config {
    /// The file it came from.
    pub(crate) file: Option<PathBuf>,
    pub(crate) hostname: String,
    pub(crate) data: PathBuf,
    pub(crate) passive_ports: RangeInclusive<u16>,
    /// The load balancers whose connections begin with a PROXY header.
    pub(crate) proxies: Networks,
    pub(crate) listen: Vec<Listen>,
    pub(crate) limits: Limits,
    pub(crate) tls: TlsConfig,
    pub(crate) log: Log,
    pub(crate) node: String,
    pub(crate) storage: Storage,
    pub(crate) blobs: Blobs,
    pub(crate) mail: Mail,
    pub(crate) telemetry: Telemetry,
    pub(crate) auth: auth::Config,
    /// Each module's own table, which the module reads.
    pub(crate) modules: BTreeMap<&'static str, toml::Table>,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listen {
    pub(crate) name: String,
    pub(crate) protocol: &'static str,
    pub(crate) bind: Vec<SocketAddr>,
    pub(crate) tls: TlsMode,
}

/// The top-level keys that are not tables.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Top {
    hostname: String,
    node: String,
    data: PathBuf,
    passive_ports: String,
    #[serde(deserialize_with = "texts")]
    proxies: Vec<String>,
}

impl Default for Top {
    fn default() -> Self {
        Top {
            hostname: String::new(),
            node: String::new(),
            data: PathBuf::new(),
            passive_ports: "42000-42999".into(),
            proxies: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListenTable {
    protocol: String,
    #[serde(deserialize_with = "one_or_many")]
    bind: Vec<SocketAddr>,
    tls: TlsMode,
}

/// `[limits]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) per_address: usize,
    /// Seconds that running work has to end on SIGTERM.
    pub(crate) drain: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connections: 20_000, per_address: 500, drain: 30 }
    }
}

/// `[tls]`
#[derive(Debug, Clone, Deserialize, Serialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TlsConfig {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) min_version: TlsVersion,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize, Default, PartialEq, Eq)]
pub(crate) enum TlsVersion {
    #[default]
    #[serde(rename = "1.2")]
    V12,
    #[serde(rename = "1.3")]
    V13,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    pub(crate) level: String,
}

impl Default for Log {
    fn default() -> Self {
        Log { format: LogFormat::Text, level: "info".into() }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// `[storage]`
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Storage {
    pub(crate) engine: EngineName,
    url: String,
    connections: usize,
    tls: PostgresTlsName,
    ca: PathBuf,
    /// Seconds that the database or the bucket may take for one answer.
    timeout: u64,
    /// MiB of disk that uploads and deliveries leave free.
    pub(crate) reserve_mib: u64,
}

impl Default for Storage {
    fn default() -> Self {
        Storage {
            engine: EngineName::Sqlite,
            url: String::new(),
            connections: 12,
            tls: PostgresTlsName::Auto,
            ca: PathBuf::new(),
            timeout: 10,
            reserve_mib: 64,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EngineName {
    Sqlite,
    Postgres,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum PostgresTlsName {
    Off,
    Auto,
    Verify,
}

impl Storage {
    fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout.max(1))
    }

    /// Which engine keeps the rows.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub(crate) fn engine(&self) -> Result<Engine, String> {
        if self.engine == EngineName::Sqlite {
            let unused = !self.url.is_empty();
            return if unused {
                Err("[storage] url goes with engine = \"postgres\"".into())
            } else {
                Ok(Engine::Sqlite)
            };
        }
        if self.url.is_empty() {
            return Err("[storage] engine = \"postgres\" needs url, as postgres://user:password@host/database".into());
        }
        if self.connections < 2 {
            return Err("[storage] connections must be 2 or more".into());
        }
        Ok(Engine::Postgres(Postgres {
            url: self.url.clone(),
            connections: self.connections,
            tls: match self.tls {
                PostgresTlsName::Off => PostgresTls::Off,
                PostgresTlsName::Auto => PostgresTls::Auto,
                PostgresTlsName::Verify => PostgresTls::Verify,
            },
            ca: (!self.ca.as_os_str().is_empty()).then(|| self.ca.clone()),
            limit: self.limit(),
        }))
    }
}

/// `[blobs]`
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Blobs {
    kind: BlobsKind,
    small_kib: usize,
    endpoint: String,
    bucket: String,
    region: String,
    access_key: String,
    secret_key: String,
    prefix: String,
}

impl Default for Blobs {
    fn default() -> Self {
        Blobs {
            kind: BlobsKind::Disk,
            small_kib: 0,
            endpoint: String::new(),
            bucket: String::new(),
            region: "us-east-1".into(),
            access_key: String::new(),
            secret_key: String::new(),
            prefix: String::new(),
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum BlobsKind {
    Disk,
    S3,
}

impl Config {
    /// Where large contents are.
    pub(crate) fn blob_store(&self) -> Result<BlobStore, String> {
        let blobs = &self.blobs;
        match blobs.kind {
            BlobsKind::Disk if self.storage.engine == EngineName::Postgres => Err(
                "[storage] engine = \"postgres\" needs [blobs] kind = \"s3\": files on one node's disk are not there \
                 for the others"
                    .into(),
            ),
            BlobsKind::Disk => Ok(BlobStore::Disk),
            BlobsKind::S3 => Ok(BlobStore::S3(S3 {
                endpoint: blobs.endpoint.clone(),
                bucket: blobs.bucket.clone(),
                region: blobs.region.clone(),
                access_key: blobs.access_key.clone(),
                secret_key: blobs.secret_key.clone(),
                prefix: blobs.prefix.clone(),
                limit: self.storage.limit(),
            })),
        }
    }

    /// Contents of up to so many bytes are kept in the database.
    pub(crate) fn small(&self) -> usize {
        let kib = match (self.blobs.small_kib, self.blobs.kind) {
            // Measured: up to there a row is put and read faster than a file, or than an object.
            (0, BlobsKind::Disk) => 64,
            (0, BlobsKind::S3) => 128,
            (kib, _) => kib.min(1024),
        };
        kib << 10
    }
}

/// `[mail]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Mail {
    /// How many days expunged messages can be restored.
    undelete_days: u64,
}

impl Default for Mail {
    fn default() -> Self {
        Mail { undelete_days: 14 }
    }
}

impl Mail {
    /// How long expunged messages can be restored.
    pub(crate) fn undelete(&self) -> Duration {
        Duration::from_secs(self.undelete_days.min(36_500) * 24 * 3600)
    }
}

/// `[telemetry]`
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Telemetry {
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) bind: Vec<SocketAddr>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Telemetry { bind: vec![SocketAddr::from(([127, 0, 0, 1], 2090))] }
    }
}

impl Config {
    /// Reads the configuration. `data` given on the command line wins over all else.
    ///
    /// # Errors
    /// One sentence that names the file or variable, the key, and what would be right.
    pub(crate) fn load(file: Option<&Path>, data: Option<&Path>) -> Result<Config, String> {
        let system = Path::new(SYSTEM_FILE);
        let file = file.or_else(|| system.exists().then_some(system));
        let mut builder = config::Config::builder();
        if let Some(file) = file {
            builder = builder.add_source(config::File::from(file).format(config::FileFormat::Toml));
        }
        // `separator` alone would also become the prefix's separator; said twice, so that nobody has to know.
        let environment = config::Environment::with_prefix("WHARFINGER").prefix_separator("__").separator("__");
        let all = builder.add_source(environment.try_parsing(true)).build().map_err(|error| error.to_string())?;
        let all: toml::Table = all.try_deserialize().map_err(|error| error.to_string())?;
        let place = file.map_or_else(|| "the environment".to_owned(), |file| file.display().to_string());
        let mut config = Config::from_table(all).map_err(|error| format!("{place}: {error}"))?;
        config.file = file.map(Path::to_owned);
        if let Some(data) = data {
            config.data = data.to_owned();
        }
        Ok(config)
    }

    pub(crate) fn from_table(mut all: toml::Table) -> Result<Config, String> {
        let tables = ["limits", "tls", "log", "storage", "blobs", "mail", "telemetry", "auth", "listen"];
        let names = || tables.into_iter().chain(MODULES.iter().map(|module| module.name));
        let limits = section(&mut all, "limits")?;
        let tls: TlsConfig = section(&mut all, "tls")?;
        let log = section(&mut all, "log")?;
        let storage = section(&mut all, "storage")?;
        let blobs = section(&mut all, "blobs")?;
        let mail = section(&mut all, "mail")?;
        let telemetry = section(&mut all, "telemetry")?;
        let auth = section(&mut all, "auth")?;
        let listen = listeners(all.remove("listen"))?;
        let mut modules = BTreeMap::new();
        for module in MODULES {
            modules.insert(module.name, table_of(module.name, all.remove(module.name))?);
        }
        let top: Top = read("", all).map_err(|error| nearest_of(&error, names()))?;
        if tls.certificate.as_os_str().is_empty() != tls.key.as_os_str().is_empty() {
            return Err("tls.certificate and tls.key go together: set both or neither".into());
        }
        Ok(Config {
            file: None,
            node: if top.node.is_empty() { host() } else { top.node },
            hostname: hostname(&top.hostname)?,
            data: if top.data.as_os_str().is_empty() { default_data() } else { top.data },
            passive_ports: ports(&top.passive_ports)?,
            proxies: networks(&top.proxies)?,
            listen,
            limits,
            tls,
            log,
            storage,
            blobs,
            mail,
            telemetry,
            auth,
            modules,
        })
    }

    /// The same, with as few connections to the database as there can be.
    pub(crate) fn with_few_connections(&self) -> Config {
        let mut config = self.clone();
        config.storage.connections = 2;
        config
    }

    /// How long running work has to end on SIGTERM.
    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs(self.limits.drain)
    }
}

fn table_of(name: &str, value: Option<toml::Value>) -> Result<toml::Table, String> {
    match value {
        None => Ok(toml::Table::new()),
        Some(toml::Value::Table(table)) => Ok(table),
        Some(_) => Err(format!("[{name}] must be a table")),
    }
}

fn section<T: DeserializeOwned>(all: &mut toml::Table, name: &str) -> Result<T, String> {
    read(name, table_of(name, all.remove(name))?)
}

fn read<T: DeserializeOwned>(name: &str, table: toml::Table) -> Result<T, String> {
    T::deserialize(table).map_err(|error| explain(name, &error.to_string()))
}

/// Makes serde's message one for the administrator: where, what, and the nearest key there is.
pub(crate) fn explain(name: &str, error: &str) -> String {
    let error = error.trim().replace('\n', " ");
    // toml says at the end which key it is about, unless that is one of the table itself that is unknown.
    let (error, key) = match error.strip_suffix('`').and_then(|error| error.rsplit_once(" in `")) {
        Some((error, key)) => (error, format!("{key}: ")),
        None => (error.as_str(), String::new()),
    };
    let place = if name.is_empty() { key } else { format!("[{name}] {key}") };
    if error == "invalid socket address syntax" {
        return format!("{place}an address needs its port, like \"127.0.0.1:53\" or \"[::1]:53\"");
    }
    if !error.starts_with("unknown field") && !error.contains("unknown variant") {
        return format!("{place}{error}");
    }
    let mut quoted = error.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next() else { return format!("{place}{error}") };
    let nearest = nearest(unknown, quoted);
    let what = if error.starts_with("unknown field") { "unknown key" } else { "unknown value" };
    format!("{place}{what} {unknown:?}{nearest}")
}

fn nearest<'a>(unknown: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    known.dedup();
    let likeness = |name: &&str| strsim::normalized_damerau_levenshtein(unknown, name);
    match known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))) {
        Some(best) if likeness(best) >= 0.5 => format!("; did you mean {best:?}?"),
        _ => format!("; known are {}", known.join(", ")),
    }
}

/// The hint for an unknown top-level key must know the tables too.
fn nearest_of<'a>(error: &str, tables: impl Iterator<Item = &'a str>) -> String {
    match error.strip_prefix("unknown key ").and_then(|rest| rest.split('"').nth(1)) {
        Some(unknown) => {
            let known = tables.chain(["hostname", "node", "data", "passive_ports", "proxies"]);
            format!("unknown key {unknown:?}{}", nearest(unknown, known))
        }
        None => error.to_owned(),
    }
}

fn listeners(value: Option<toml::Value>) -> Result<Vec<Listen>, String> {
    let table = table_of("listen", value)?;
    if table.is_empty() {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        return Ok(modules::ports()
            .filter(|(_, port)| port.number > 0)
            .map(|(_, port)| Listen {
                name: port.name.into(),
                protocol: port.protocol,
                bind: vec![loopback(port.number + OFFSET)],
                tls: port.tls,
            })
            .collect());
    }
    let mut listeners = Vec::new();
    for (name, value) in table {
        let place = format!("listen.{name}");
        let listen: ListenTable = read(&place, table_of(&place, Some(value))?)?;
        let Some((_, protocol)) = modules::speaking(&listen.protocol) else {
            let known = modules::ports().map(|(_, port)| port.protocol);
            let hint = nearest(&listen.protocol, known);
            return Err(format!("[{place}] unknown protocol {:?}{hint}", listen.protocol));
        };
        listeners.push(Listen { name, protocol, bind: listen.bind, tls: listen.tls });
    }
    Ok(listeners)
}

fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let parsed = text.split_once('-').and_then(|(first, last)| {
        let (first, last) = (first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?);
        (first >= 1024 && first <= last).then_some(first..=last)
    });
    parsed.ok_or_else(|| format!("passive_ports = {text:?} must be two ports above 1023, like \"42000-42999\""))
}

fn networks(texts: &[String]) -> Result<Networks, String> {
    let parse = |text: &String| text.parse().map_err(|error| format!("proxies: {error}"));
    texts.iter().map(parse).collect()
}

/// A list, or one text with commas as the environment has it.
fn texts<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    let texts: Vec<String> = match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(text) => text.split(',').map(|text| text.trim().to_owned()).collect(),
        OneOrMany::Many(texts) => texts,
    };
    Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<SocketAddr>, D::Error> {
    let parse = |text: &String| {
        let wrong = |_| format!("{text:?} is not an address and port, like \"[::]:993\" or \"127.0.0.1:2993\"");
        text.parse().map_err(wrong).map_err(serde::de::Error::custom)
    };
    texts(deserializer)?.iter().map(parse).collect()
}

fn default_data() -> PathBuf {
    std::env::var_os("STATE_DIRECTORY").map_or_else(|| "wharfinger-data".into(), PathBuf::from)
}

/// What this host calls itself: a domain (RFC 5321 §2.3.5), in the form that DNS and mail have it.
fn hostname(set: &str) -> Result<String, String> {
    let given = if set.is_empty() { host() } else { set.to_owned() };
    let name = storage::ascii_domain(given.strip_suffix('.').unwrap_or(&given));
    if !name.is_ascii() || !storage::is_domain_name(&name) {
        return Err(format!("hostname: {given:?} is not a domain name; set one like \"mail.example.org\""));
    }
    Ok(name)
}

fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".into() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, String> {
        Config::from_table(toml::from_str(text).expect("TOML"))
    }

    #[test]
    fn the_documented_default_is_the_default() {
        let text = include_str!("../../etc/wharfinger.toml");
        let documented = load(text).expect("etc/wharfinger.toml is read");
        let bare = load("").expect("nothing is read");
        assert_eq!(documented.listen.len(), bare.listen.len());
        for listen in &bare.listen {
            assert!(documented.listen.contains(listen), "{listen:?} is documented as it is");
        }
        assert_eq!(format!("{:?}", documented.limits), format!("{:?}", bare.limits));
        assert_eq!(documented.proxies, bare.proxies);
        assert_eq!(format!("{:?}", documented.mail), format!("{:?}", bare.mail));
        assert_eq!(format!("{:?}", documented.auth), format!("{:?}", bare.auth));
        for module in MODULES {
            for (key, value) in (module.defaults)() {
                let shown = documented.modules[module.name].get(&key).or(Some(&value));
                assert_eq!(shown, Some(&value), "[{}] {key} is documented with its default", module.name);
                assert!(text.contains(&key), "[{}] {key} is documented", module.name);
            }
        }
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        for (text, hint) in [
            ("hostnam = 'a'", "did you mean \"hostname\"?"),
            ("[limit]\nconnections = 1", "did you mean \"limits\"?"),
            ("[limits]\nconections = 1", "[limits] unknown key \"conections\"; did you mean \"connections\"?"),
            ("[listen.x]\nprotocol = 'fpt'\nbind = '127.0.0.1:1'\ntls = 'none'", "did you mean \"ftp\"?"),
            ("[listen.x]\nprotocol = 'ftp'\nbind = 'here'\ntls = 'none'", "not an address and port"),
            ("[auth]\ncleartext = 'lopback'", "did you mean \"loopback\"?"),
            ("passive_ports = '1-2'", "above 1023"),
            ("proxy = '127.0.0.1'", "did you mean \"proxies\"?"),
            ("proxies = ['10.0.0.0/8', '10.0.0.300']", "proxies: \"10.0.0.300\" is not an address or a network"),
            ("proxies = '10.0.0.1/8'", "bits behind the network's length"),
            ("[tls]\nkey = 'x'", "go together"),
            ("hostname = 5", "hostname: invalid type"),
            ("hostname = 'a b'", "hostname: \"a b\" is not a domain name"),
            ("hostname = 'mail_a.example'", "hostname: \"mail_a.example\" is not a domain name"),
            ("hostname = 'mail..example'", "hostname: "),
            ("hostname = '-a.example'", "hostname: "),
            ("hostname = '::1'", "hostname: "),
            ("[log]\nformat = 'xml'", "[log] format: unknown value \"xml\"; known are json, text"),
        ] {
            let error = load(text).map(drop).expect_err(text);
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn hostname_is_as_dns_has_it() {
        for (given, name) in [
            ("mail.example.org", "mail.example.org"),
            ("Mail.Example.org.", "mail.example.org"),
            ("mail.müller.example", "mail.xn--mller-kva.example"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(load(&format!("hostname = '{given}'")).unwrap().hostname, name);
        }
        assert!(!load("").unwrap().hostname.is_empty(), "without one it is the system's");
    }

    #[test]
    fn a_module_s_error_names_the_key_and_what_is_known() {
        for (text, sentence) in [
            ("mta_sts = 'on'", "[smtp] mta_sts: unknown value \"on\"; did you mean \"none\"?"),
            ("[outbound]\ndane = 'on'", "[smtp] outbound.dane: unknown value \"on\"; known are auto, off"),
            ("[trust]\ndmarc = 'on'", "[smtp] trust.dmarc: unknown value \"on\"; known are apply, mark"),
            ("[outbound]\nwarning = 'x'", "[smtp] outbound.warning: invalid type: string \"x\", expected u64"),
            ("[outbound]\nport_ = 1", "[smtp] outbound: unknown key \"port_\"; did you mean \"port\"?"),
            ("max_mesage = 1", "[smtp] unknown key \"max_mesage\"; did you mean \"max_message\"?"),
            (
                "[dns]\nservers = ['127.0.0.1']",
                "[smtp] dns.servers: an address needs its port, like \"127.0.0.1:53\" or \"[::1]:53\"",
            ),
        ] {
            let error = protocol::read_config::<smtp::config::Config>("smtp", text.parse().unwrap()).unwrap_err();
            assert_eq!(explain("smtp", &error.message), sentence);
        }
    }
}
