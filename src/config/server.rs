//! The settings of `fastdata serve`: `[server]` and the sections below it.
//!
//! Contract: files are only named here; whoever needs one opens it, and opens it again when the server is told to (SIGHUP). What is left out has the
//! default that [`ServerSettings::default`] and [`Limits::default`] state.

use super::reader::Section;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq)]
pub struct ServerSettings {
    pub listen: SocketAddr,
    /// Health and metrics; nothing is opened for them where this is not set.
    pub admin: Option<SocketAddr>,
    /// What running streams may still take after the first signal.
    pub grace: Duration,
    /// Whether anything but loopback may be listened on without TLS.
    pub plaintext: bool,
    /// How old the state of a table may be that a plan is made from.
    pub staleness: Duration,
    pub tls: Option<TlsSettings>,
    pub tickets: TicketSettings,
    pub auth: AuthSettings,
    pub limits: Limits,
}

/// Files in PEM form.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsSettings {
    /// The server's certificate, then those that lead to its authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The authorities whose client certificates are accepted.
    pub client_ca: Option<PathBuf>,
    pub client_certificates: ClientCertificates,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// A connection without one ends in the handshake.
    Required,
    /// A caller may show a token instead.
    Optional,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TicketSettings {
    pub lifetime: Duration,
    /// Lines `ID BASE64-OF-32-BYTES`: the first key seals, all open. Without a file a key is made at each start.
    pub keys: Option<PathBuf>,
}

/// How callers are known. Without any of these, and without client certificates, everybody is anonymous.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AuthSettings {
    /// Hashes of tokens and whose they are.
    pub tokens: Option<PathBuf>,
    pub jwt: Option<JwtSettings>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct JwtSettings {
    /// A file, or an https URL (http on loopback).
    pub jwks: String,
    pub issuer: String,
    /// One of them must be among the token's.
    pub audience: Vec<String>,
    /// Names as in RFC 7518; asymmetric ones only.
    pub algorithms: Vec<String>,
    pub principal_claim: String,
    pub groups_claim: String,
}

impl JwtSettings {
    /// Every algorithm that may be allowed.
    pub const ALGORITHMS: [&str; 9] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
}

/// What one server, one connection or one request may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    pub connections: usize,
    /// Of the whole process.
    pub streams: usize,
    pub streams_per_connection: usize,
    /// Of a command.
    pub request_bytes: u64,
    /// Of a FlightInfo.
    pub plan_bytes: u64,
    /// Of a message of a stream, a single larger row excepted.
    pub message_bytes: u64,
    /// For TLS and for the first bytes of HTTP/2.
    pub handshake: Duration,
}

impl Default for ServerSettings {
    fn default() -> Self {
        ServerSettings {
            listen: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8815)),
            admin: None,
            grace: Duration::from_secs(30),
            plaintext: false,
            staleness: Duration::ZERO,
            tls: None,
            tickets: TicketSettings { lifetime: Duration::from_secs(3600), keys: None },
            auth: AuthSettings::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 1024,
            streams: 4096,
            streams_per_connection: 1024,
            request_bytes: 256 << 10,
            plan_bytes: 4 << 20,
            message_bytes: 2 << 20,
            handshake: Duration::from_secs(10),
        }
    }
}

impl ServerSettings {
    /// Refuses to speak in plain text to other machines unless that was asked for. To be called when flags have had their say.
    pub fn check_listen(&self) -> Result<()> {
        if self.listen.ip().is_loopback() || self.tls.is_some() || self.plaintext {
            return Ok(());
        }
        let message =
            format!("{} is not a loopback address, and there is no [server.tls]: rows and tokens would travel in plain text", self.listen);
        Err(Error::new(ErrorKind::Config, Stage::Config, message).advice(
            "give server.tls a certificate and a key, listen on 127.0.0.1, or set server.plaintext = true behind a proxy that encrypts",
        ))
    }
}

/// The budget of a server that was not told one: a quarter of the machine's memory, or of what its control group may take.
pub fn quarter_of_memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = machine.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())?;
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse::<u64>().ok());
    Some(group.unwrap_or(u64::MAX).min(total.saturating_mul(1024)) / 4)
}

pub(super) fn read(mut section: Section) -> ServerSettings {
    let default = ServerSettings::default();
    let listen = section.text("listen", parse_address).unwrap_or(default.listen);
    let admin = section.text("admin", parse_address);
    let grace = section.text("grace", parse_duration).unwrap_or(default.grace);
    let plaintext = section.flag("plaintext").unwrap_or(default.plaintext);
    let staleness = section.text("staleness", parse_duration).unwrap_or(default.staleness);
    let tls = section.section("tls").and_then(read_tls);
    let tickets = section.section("tickets").map(read_tickets).unwrap_or(default.tickets);
    let auth = section.section("auth").map(read_auth).unwrap_or_default();
    let limits = section.section("limits").map(read_limits).unwrap_or_default();
    section.finish();
    ServerSettings { listen, admin, grace, plaintext, staleness, tls, tickets, auth, limits }
}

fn read_tls(mut section: Section) -> Option<TlsSettings> {
    let certificate = section.path("certificate");
    let certificate = section.required("certificate", certificate);
    let key = section.path("key");
    let key = section.required("key", key);
    let client_ca = section.path("client-ca");
    let asked = section.text("client-certificates", |text| match text {
        "required" => Ok(ClientCertificates::Required),
        "optional" => Ok(ClientCertificates::Optional),
        _ => Err(format!("'{text}' must be required or optional")),
    });
    if asked.is_some() && client_ca.is_none() {
        section.problem("client-certificates", "has no effect without client-ca, the authorities to accept");
    }
    section.finish();
    let client_certificates = asked.unwrap_or(ClientCertificates::Required);
    Some(TlsSettings { certificate: certificate?, key: key?, client_ca, client_certificates })
}

fn read_tickets(mut section: Section) -> TicketSettings {
    let default = ServerSettings::default().tickets;
    let lifetime = section.text("lifetime", some_time);
    let keys = section.path("keys");
    section.finish();
    TicketSettings { lifetime: lifetime.unwrap_or(default.lifetime), keys }
}

fn some_time(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        time => Ok(time),
    }
}

fn read_auth(mut section: Section) -> AuthSettings {
    let tokens = section.path("tokens");
    let jwt = section.section("jwt").and_then(read_jwt);
    section.finish();
    AuthSettings { tokens, jwt }
}

fn read_jwt(mut section: Section) -> Option<JwtSettings> {
    let jwks = section.string("jwks");
    let jwks = section.required("jwks", jwks);
    let issuer = section.string("issuer");
    let issuer = section.required("issuer", issuer);
    let audience = section.strings("audience");
    let audience = section.required("audience", audience);
    let algorithms = section.strings("algorithms").unwrap_or_else(|| JwtSettings::ALGORITHMS.map(str::to_owned).to_vec());
    if let Some(wrong) = algorithms.iter().find(|name| !JwtSettings::ALGORITHMS.contains(&name.as_str())) {
        let known = JwtSettings::ALGORITHMS.join(", ");
        section.problem("algorithms", format!("'{wrong}' is not accepted; those with a public key are: {known}"));
    }
    if let Some(url) = jwks.as_deref().filter(|text| text.contains("://"))
        && !is_safe_url(url)
    {
        section.problem("jwks", format!("'{url}' must be https, or http on loopback: whoever can alter it can make tokens"));
    }
    let principal_claim = section.string("principal-claim").unwrap_or_else(|| "sub".to_owned());
    let groups_claim = section.string("groups-claim").unwrap_or_else(|| "groups".to_owned());
    section.finish();
    Some(JwtSettings { jwks: jwks?, issuer: issuer?, audience: audience?, algorithms, principal_claim, groups_claim })
}

/// Whether what comes from there is what was sent there.
fn is_safe_url(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else { return false };
    let loopback = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.host().is_some() && (url.scheme() == "https" || url.scheme() == "http" && loopback)
}

fn read_limits(mut section: Section) -> Limits {
    let default = Limits::default();
    let limits = Limits {
        connections: section.count("connections").unwrap_or(default.connections),
        streams: section.count("streams").unwrap_or(default.streams),
        streams_per_connection: section.count("streams-per-connection").unwrap_or(default.streams_per_connection),
        request_bytes: section.bytes("request-bytes").unwrap_or(default.request_bytes),
        plan_bytes: section.bytes("plan-bytes").unwrap_or(default.plan_bytes),
        message_bytes: section.bytes("message-bytes").unwrap_or(default.message_bytes),
        handshake: section.text("handshake", some_time).unwrap_or(default.handshake),
    };
    section.finish();
    limits
}

/// `HOST:PORT` of an address to listen on.
pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    numeric.parse().map_err(|_| format!("'{text}' is no address; write HOST:PORT with a numeric host, e.g. 127.0.0.1:8815 or [::]:8815"))
}

/// `500ms`, `30s`, `5m`, `1h`, `1d`; a number alone is seconds. No time at all, `0s`, is one: who needs some refuses it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no time; write e.g. 500ms, 30s, 5m, 1h, 1d");
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<f64>().map_err(|_| wrong())? * factor;
    Duration::try_from_secs_f64(seconds).ok().filter(|time| time.as_secs() <= 3650 * 86_400).ok_or_else(wrong)
}
