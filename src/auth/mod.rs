//! Who calls, and what they may see.
//!
//! Problem: a server hands rows to whoever asks well. Contract: [`Authenticator::identify`] turns what came with a request into an [`Identity`] or
//! into one constant error, which does not tell what was wrong, but for a token that is past its time; [`Policy::of`] turns an identity into
//! the access that the engine enforces. Secrets are kept as hashes or not at all, have no `Debug`, and stand in no message. What is
//! read from files is read again by `reload`; a broken file changes nothing.
//!
//! How: [`tokens`] knows static tokens by their hashes, [`jwt`] signed ones by the keys of their issuer, [`certificates`] the client's own; [`tls`]
//! decides which certificates get that far. [`policy`] finds the rule for a caller and a table.

pub mod certificates;
pub mod jwt;
pub mod policy;
pub mod tls;
pub mod tokens;

#[cfg(test)]
mod tests;

use crate::config::ServerSettings;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::path::Path;
use std::sync::Arc;

pub use policy::Policy;
pub use tls::Tls;

/// The principal of everybody where nothing is configured to tell callers apart.
pub const ANONYMOUS: &str = "anonymous";
/// Bytes of a token that are looked at; a JWT of an issuer with many groups takes some thousand.
const MAX_TOKEN: usize = 16 << 10;
/// Bytes of a file of tokens, keys or certificates.
const MAX_FILE: u64 = 16 << 20;

/// A caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    pub principal: String,
    pub groups: Vec<String>,
}

impl Identity {
    pub fn anonymous() -> Identity {
        Identity { principal: ANONYMOUS.to_owned(), groups: vec![] }
    }
}

/// Knows callers by what the settings allow: tokens, signed tokens, client certificates.
pub struct Authenticator {
    tokens: Option<tokens::Tokens>,
    jwt: Option<Arc<jwt::Jwt>>,
    /// Certificates of callers were checked in the TLS handshake.
    certificates: bool,
}

impl Authenticator {
    /// Reads the files that the settings name; each that is broken has an error. Nothing is contacted yet.
    pub fn open(settings: &ServerSettings) -> Result<Authenticator, Vec<Error>> {
        let tokens = settings.auth.tokens.as_deref().map(tokens::Tokens::open).transpose();
        let jwt = settings.auth.jwt.as_ref().map(jwt::Jwt::open).transpose();
        let certificates = settings.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        match (tokens, jwt) {
            (Ok(tokens), Ok(jwt)) => Ok(Authenticator { tokens, jwt: jwt.map(Arc::new), certificates }),
            (tokens, jwt) => Err(tokens.err().into_iter().chain(jwt.err()).collect()),
        }
    }

    /// Whether everybody is anonymous.
    pub fn is_open(&self) -> bool {
        self.tokens.is_none() && self.jwt.is_none() && !self.certificates
    }

    /// Who sent these headers over a connection with this client certificate (DER, as it passed the handshake). A token says more than a
    /// certificate: who sends one is whom it names.
    pub async fn identify(&self, headers: &HeaderMap, peer_certificate: Option<&[u8]>) -> Result<Identity> {
        if self.is_open() {
            return Ok(Identity::anonymous());
        }
        match (bearer(headers)?, peer_certificate) {
            (Some(token), _) => self.of_token(token).await,
            (None, Some(der)) if self.certificates => certificates::identity(der).ok_or_else(unauthenticated),
            _ => Err(unauthenticated()),
        }
    }

    async fn of_token(&self, token: &str) -> Result<Identity> {
        if let Some(identity) = self.tokens.as_ref().and_then(|tokens| tokens.find(token)) {
            return Ok(identity);
        }
        match &self.jwt {
            Some(jwt) => jwt.verify(token).await,
            None => Err(unauthenticated()),
        }
    }

    /// Reads files again. Each error is of one file, whose former content stays in force.
    pub fn reload(&self) -> Vec<Error> {
        let tokens = self.tokens.as_ref().and_then(|tokens| tokens.reload().err());
        let jwt = self.jwt.as_ref().and_then(|jwt| jwt.reload().err());
        tokens.into_iter().chain(jwt).collect()
    }
}

/// The token of `authorization: Bearer TOKEN`; `None` where there is no such header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    // Two of them might be taken for one another on the way.
    if values.next().is_some() {
        return Err(unauthenticated());
    }
    let token = value.to_str().ok().and_then(|text| text.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match token.map(|(_, token)| token.trim()) {
        Some(token) if !token.is_empty() && token.len() <= MAX_TOKEN => Ok(Some(token)),
        _ => Err(unauthenticated()),
    }
}

/// The one answer to credentials that are missing or not good.
fn unauthenticated() -> Error {
    Error::new(ErrorKind::Unauthenticated, Stage::Serve, "no valid credentials were sent").advice(
        "send the header `authorization: Bearer TOKEN` with a token that this server accepts, or the client certificate that it asks for",
    )
}

fn expired() -> Error {
    Error::new(ErrorKind::Unauthenticated, Stage::Serve, "the token has expired").advice("get a new token from its issuer and send that")
}

/// The content of a file of the configuration, of a bounded size.
fn read_file(what: &str, file: &Path) -> Result<Vec<u8>> {
    use std::io::Read;
    let wrong = |why: String| config_error(format!("{what}: {}: {why}", file.display()));
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).map_err(|e| wrong(e.to_string()).source(e))?;
    opened.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| wrong(e.to_string()).source(e))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(wrong(format!("larger than {} MiB", MAX_FILE >> 20)));
    }
    Ok(bytes)
}

fn config_error(message: String) -> Error {
    Error::new(ErrorKind::Config, Stage::Config, message).advice("docs/security.md says what the file holds")
}
