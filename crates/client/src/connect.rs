//! Connections: where the server is, how it proves who it is, and who we are.

use crate::{Client, refusal};
use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that has been silent this long is asked for a sign of life ...
const SILENT: Duration = Duration::from_secs(10);
/// ... which must come within this time, whatever the server is busy with.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// What of one stream may be under way, unless the options say otherwise ...
pub const STREAM_WINDOW: u32 = 4 << 20;
/// ... and of all: so much that streams which nobody reads do not hold up one that somebody does.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// How to reach a server. The default needs nothing: plaintext, no token.
#[derive(Clone, Default)]
pub struct ConnectOptions {
    /// Sent as `authorization: Bearer TOKEN`.
    pub token: Option<Token>,
    /// PEM file of the authorities that the server's certificate may come from [default: the system's].
    pub ca: Option<PathBuf>,
    /// PEM files of our certificate and its key, for servers that ask for one.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Whether a token may go over plaintext to another machine.
    pub plaintext_token: bool,
    /// Bytes of one stream that may be under way, beside what is prefetched [default: 4 MiB]. Less saves memory, and slows a stream down where the
    /// way to the server is long.
    pub stream_window: Option<u32>,
}

/// A bearer token. Has no `Debug`.
#[derive(Clone)]
pub struct Token(MetadataValue<Ascii>);

impl Token {
    pub fn new(token: &str) -> Result<Token> {
        let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.trim()).parse().map_err(|_| {
            Error::invalid(Stage::Client, "the token is no printable ASCII text").advice("give the token as it was handed out")
        })?;
        value.set_sensitive(true);
        Ok(Token(value))
    }

    pub(crate) fn value(&self) -> MetadataValue<Ascii> {
        self.0.clone()
    }
}

impl Client {
    /// Connects to `grpc://HOST:PORT` or `grpc+tls://HOST:PORT`.
    pub async fn connect(uri: &str, options: ConnectOptions) -> Result<Client> {
        let wrong = || {
            Error::invalid(Stage::Client, format!("server '{uri}'"))
                .advice("write grpc://HOST:PORT or grpc+tls://HOST:PORT, as `fastdata serve` prints it")
        };
        let (scheme, address) = uri.split_once("://").ok_or_else(wrong)?;
        let tls = match scheme {
            "grpc" | "grpc+tcp" => false,
            "grpc+tls" => true,
            _ => return Err(wrong()),
        };
        if !tls && options.token.is_some() && !options.plaintext_token && !is_loopback(address) {
            return Err(Error::invalid(Stage::Client, format!("a token would go to {uri} unencrypted"))
                .advice("use grpc+tls://, or ask for plaintext explicitly"));
        }
        if !tls && (options.ca.is_some() || options.certificate.is_some()) {
            return Err(Error::invalid(Stage::Client, format!("certificates are given and {uri} is plaintext")).advice("use grpc+tls://"));
        }
        let endpoint =
            Channel::from_shared(format!("{}://{address}", if tls { "https" } else { "http" })).map_err(|e| wrong().source(e))?;
        if endpoint.uri().port_u16().is_none() {
            return Err(Error::invalid(Stage::Client, format!("server '{uri}' names no port"))
                .advice(format!("write it behind the host: {scheme}://HOST:PORT, as `fastdata serve` prints it")));
        }
        let endpoint = endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(SILENT)
            .keep_alive_timeout(SIGN_OF_LIFE)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true)
            .initial_stream_window_size(options.stream_window.unwrap_or(STREAM_WINDOW))
            .initial_connection_window_size(CONNECTION_WINDOW);
        let endpoint = if tls { with_tls(endpoint, &options)? } else { endpoint };
        let client = Client { endpoint, token: options.token, server: uri.into(), channel: Arc::default(), retry_for: crate::RETRY_FOR };
        client.channel().await?;
        Ok(client)
    }

    /// The connection, made anew after [`Client::reconnect`].
    pub(crate) async fn channel(&self) -> Result<Channel> {
        let mut channel = self.channel.lock().await;
        if let Some(channel) = channel.as_ref() {
            return Ok(channel.clone());
        }
        let made = self.endpoint.connect().await.map_err(|e| match refusal::of(&e, &self.server) {
            Some(refused) => refused.source(e),
            None => Error::new(ErrorKind::Unavailable, Stage::Client, format!("server {} cannot be reached: {}", self.server, root_of(&e)))
                .source(e)
                .advice("check that `fastdata serve` runs there and that the port is right"),
        })?;
        Ok(channel.insert(made).clone())
    }

    /// Forgets a connection that broke, so that the next call makes another.
    pub(crate) async fn reconnect(&self) {
        self.channel.lock().await.take();
    }
}

/// The innermost cause: the outer ones say `transport error`.
fn root_of(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn read_pem(path: &PathBuf, holds: &str) -> Result<Vec<u8>> {
    let wrong = |what: String| Error::invalid(Stage::Client, format!("{}: {what}", path.display())).advice("name a readable PEM file");
    let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let mark = format!("{holds}-----");
    if !bytes.windows(mark.len()).any(|part| part == mark.as_bytes()) {
        return Err(wrong(format!("no {} in PEM form", holds.to_lowercase())));
    }
    Ok(bytes)
}

fn with_tls(endpoint: Endpoint, options: &ConnectOptions) -> Result<Endpoint> {
    let tls = ClientTlsConfig::new();
    let tls = match &options.ca {
        Some(ca) => tls.ca_certificate(Certificate::from_pem(read_pem(ca, "CERTIFICATE")?)),
        None => tls.with_native_roots(),
    };
    let tls = match &options.certificate {
        Some((certificate, key)) => tls.identity(Identity::from_pem(read_pem(certificate, "CERTIFICATE")?, read_pem(key, "PRIVATE KEY")?)),
        None => tls,
    };
    endpoint.tls_config(tls).map_err(|e| {
        let cause = root_of(&e);
        Error::invalid(Stage::Client, format!("certificates: {cause}")).source(e).advice("give PEM files of certificates and a key")
    })
}

fn is_loopback(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tokens_do_not_go_over_plaintext_to_another_machine() {
        let options = ConnectOptions { token: Some(Token::new("secret-canary").unwrap()), ..Default::default() };
        let error = Client::connect("grpc://192.0.2.1:1", options).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert!(error.message().contains("unencrypted") && !format!("{error:?}").contains("canary"), "{error:?}");
        for (address, local) in
            [("127.0.0.1:1", true), ("[::1]:1", true), ("localhost:1", true), ("127.0.0.1.example.com:1", false), ("10.0.0.1:1", false)]
        {
            assert_eq!(is_loopback(address), local, "{address}");
        }
    }

    #[tokio::test]
    async fn other_schemes_and_unknown_files_are_refused_by_name() {
        for uri in ["http://127.0.0.1:1", "127.0.0.1:1", "grpc://"] {
            assert!(Client::connect(uri, ConnectOptions::default()).await.is_err(), "{uri}");
        }
        let options = ConnectOptions { ca: Some("/nowhere/ca.pem".into()), ..Default::default() };
        let error = Client::connect("grpc+tls://127.0.0.1:1", options).await.err().unwrap();
        assert!(error.message().contains("/nowhere/ca.pem"), "{error}");
        let options = ConnectOptions { ca: Some(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml").into()), ..Default::default() };
        let error = Client::connect("grpc+tls://127.0.0.1:1", options).await.err().unwrap();
        assert!(error.message().contains("Cargo.toml: no certificate"), "{error}");
        for uri in ["grpc://127.0.0.1", "grpc+tls://localhost", "grpc://[::1]"] {
            let error = Client::connect(uri, ConnectOptions::default()).await.err().unwrap();
            assert!(error.message().contains(uri) && error.message().contains("no port"), "{error}");
        }
        assert!(Token::new("line\nbreak").is_err());
    }
}
