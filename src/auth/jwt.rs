//! Signed tokens (JWT, RFC 7519) of one issuer, by the keys that it publishes (JWKS, RFC 7517).
//!
//! Contract: a token is good if an allowed algorithm signed it with a published key, its issuer and audience are those of the settings, and it is
//! within its time, give or take [`LEEWAY`]; a token without an expiry is not. Only algorithms with a public key are ever taken: `none`, and a
//! public key used as a shared secret, prove nothing. What is wrong with a token is not told, but that one with a good signature is past its time.
//!
//! How: keys of a file are read at the start and on reload. Keys of a URL are fetched when the first token comes, again in the background when they are older than
//! [`REFRESH`], and while the caller waits where a token names a key that is not among them, at most once in [`PAUSE`]. Answers are bounded in size and time.

use super::{Identity, config_error, expired, read_file, unauthenticated};
use crate::config::JwtSettings;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde_json::{Map, Value as Json};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// Clocks differ.
const LEEWAY: Duration = Duration::from_secs(60);
const REFRESH: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: usize = 1 << 20;
const MAX_KEYS: usize = 1000;
/// Keys without an id that are tried on one token.
const TRIED: usize = 8;

pub struct Jwt {
    settings: JwtSettings,
    algorithms: Vec<Algorithm>,
    source: Source,
    keys: RwLock<Arc<Keys>>,
    /// When keys were last asked for; held while they are.
    asked: Mutex<Option<Instant>>,
    /// Whether a reload asked for fresh keys.
    stale: AtomicBool,
    pause: Duration,
}

enum Source {
    File(PathBuf),
    Url(String, reqwest::Client),
}

#[derive(Default)]
struct Keys {
    keys: Vec<Key>,
    /// `None` before the first.
    since: Option<Instant>,
}

struct Key {
    id: Option<String>,
    /// The one algorithm it is meant for, where it says so.
    algorithm: Option<Algorithm>,
    key: DecodingKey,
}

impl Jwt {
    pub fn open(settings: &JwtSettings) -> Result<Jwt> {
        let algorithm = |name: &String| {
            let known = JwtSettings::ALGORITHMS.contains(&name.as_str());
            Algorithm::from_str(name).ok().filter(|_| known).ok_or_else(|| config_error(format!("server.auth.jwt.algorithms: '{name}'")))
        };
        let source = match settings.jwks.contains("://") {
            true => Source::Url(settings.jwks.clone(), client()?),
            false => Source::File(PathBuf::from(&settings.jwks)),
        };
        let jwt = Jwt {
            algorithms: settings.algorithms.iter().map(algorithm).collect::<Result<_>>()?,
            settings: settings.clone(),
            source,
            keys: RwLock::default(),
            asked: Mutex::new(None),
            stale: AtomicBool::new(false),
            pause: PAUSE,
        };
        jwt.reload()?;
        Ok(jwt)
    }

    /// Reads the file of keys again. Those of a URL are fetched again when the next token comes.
    pub fn reload(&self) -> Result<()> {
        match &self.source {
            Source::File(file) => {
                let wrong = |why: &str| config_error(format!("server.auth.jwt.jwks: {}: {why}", file.display()));
                let keys = parse_keys(&read_file("server.auth.jwt.jwks", file)?).map_err(wrong)?;
                self.replace(keys);
            }
            Source::Url(..) => self.stale.store(true, Ordering::Relaxed),
        }
        Ok(())
    }

    pub async fn verify(self: &Arc<Self>, token: &str) -> Result<Identity> {
        let header = header_of(token).filter(|header| self.algorithms.contains(&header.alg)).ok_or_else(unauthenticated)?;
        let keys = self.keys().await?;
        let mut outcome = self.verify_with(&keys, &header, token);
        if outcome.is_none() && self.fetch_again(&keys).await {
            outcome = self.verify_with(&self.current(), &header, token);
        }
        outcome.unwrap_or_else(|| Err(unauthenticated()))
    }

    /// `None` where no key is the token's.
    fn verify_with(&self, keys: &Keys, header: &Header, token: &str) -> Option<Result<Identity>> {
        let fits = |key: &&Key| {
            key.algorithm.is_none_or(|algorithm| algorithm == header.alg)
                && header.kid.as_ref().is_none_or(|wanted| key.id.as_ref() == Some(wanted))
        };
        let mut outcome = None;
        for key in keys.keys.iter().filter(fits).take(TRIED) {
            match jsonwebtoken::decode::<Map<String, Json>>(token, &key.key, &self.validation(header.alg)) {
                Ok(data) => return Some(self.identity(&data.claims).ok_or_else(unauthenticated)),
                Err(e) if matches!(e.kind(), jsonwebtoken::errors::ErrorKind::ExpiredSignature) => return Some(Err(expired())),
                Err(_) => outcome = Some(Err(unauthenticated())),
            }
        }
        outcome
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&self.settings.audience);
        validation
    }

    /// Whom the claims of a verified token name.
    fn identity(&self, claims: &Map<String, Json>) -> Option<Identity> {
        // A time that is no number was not checked.
        if claims.get("nbf").is_some_and(|from| !from.is_number()) || !claims.get("iss")?.is_string() {
            return None;
        }
        let principal = claim(claims, &self.settings.principal_claim)?.as_str().filter(|name| is_plain(name))?.to_owned();
        let groups = match claim(claims, &self.settings.groups_claim) {
            None | Some(Json::Null) => vec![],
            Some(Json::String(group)) => vec![group.clone()],
            Some(Json::Array(groups)) => groups.iter().map(|group| group.as_str().map(str::to_owned)).collect::<Option<_>>()?,
            Some(_) => return None,
        };
        Some(Identity { principal, groups })
    }

    fn current(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, keys: Vec<Key>) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Keys { keys, since: Some(Instant::now()) });
    }

    /// The keys, fetched where there are none yet.
    async fn keys(self: &Arc<Self>) -> Result<Arc<Keys>> {
        let keys = self.current();
        match (&self.source, keys.since) {
            (Source::Url(..), None) => {
                self.fetch(&keys).await?;
                Ok(self.current())
            }
            (Source::Url(..), Some(since)) if since.elapsed() > REFRESH || self.stale.load(Ordering::Relaxed) => {
                let may_ask = self.asked.try_lock().is_ok_and(|asked| asked.is_none_or(|at| at.elapsed() >= self.pause));
                if may_ask {
                    self.stale.store(false, Ordering::Relaxed);
                    let (jwt, known) = (Arc::clone(self), Arc::clone(&keys));
                    tokio::spawn(async move { jwt.fetch_again(&known).await });
                }
                Ok(keys)
            }
            _ => Ok(keys),
        }
    }

    /// Whether there are other keys now than those. A failure keeps them.
    async fn fetch_again(&self, known: &Arc<Keys>) -> bool {
        if matches!(self.source, Source::File(_)) {
            return false;
        }
        match self.fetch(known).await {
            Ok(()) => !Arc::ptr_eq(known, &self.current()),
            Err(e) => {
                tracing::warn!(error = %e, "the keys of signed tokens were not fetched; the former ones stay");
                false
            }
        }
    }

    /// Fetches the keys, unless somebody else did so meanwhile or they were asked for a moment ago.
    async fn fetch(&self, known: &Arc<Keys>) -> Result<()> {
        let Source::Url(url, client) = &self.source else { return Ok(()) };
        let mut asked = self.asked.lock().await;
        if !Arc::ptr_eq(known, &self.current()) {
            return Ok(());
        }
        if asked.is_some_and(|at| at.elapsed() < self.pause) {
            return if known.since.is_some() { Ok(()) } else { Err(unavailable("asked for a moment ago")) };
        }
        *asked = Some(Instant::now());
        let answer = tokio::time::timeout(TIMEOUT, get(client, url)).await.unwrap_or_else(|_| Err(format!("no answer in {TIMEOUT:?}")));
        let keys = answer.and_then(|body| parse_keys(&body).map_err(str::to_owned)).map_err(|why| {
            tracing::warn!(url, why, "the keys of signed tokens cannot be fetched");
            unavailable("the issuer's keys cannot be fetched")
        })?;
        self.replace(keys);
        Ok(())
    }
}

fn unavailable(why: &str) -> Error {
    Error::new(ErrorKind::Unavailable, Stage::Serve, format!("signed tokens cannot be checked now: {why}"))
        .advice("try again; the operator of the server sees in its log why")
}

/// Asks no proxy, follows no redirect: what answers is what the settings name.
fn client() -> Result<reqwest::Client> {
    let failed =
        |cause: Box<dyn std::error::Error + Send + Sync>| Error::internal(Stage::Config, "no HTTP client can be made").source(cause);
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| failed(e.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .user_agent(concat!("fastdata/", env!("CARGO_PKG_VERSION")))
        .use_preconfigured_tls(tls)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(TIMEOUT)
        .build()
        .map_err(|e| failed(e.into()))
}

async fn get(client: &reqwest::Client, url: &str) -> Result<Vec<u8>, String> {
    let mut answer = client.get(url).send().await.map_err(|e| e.without_url().to_string())?;
    if !answer.status().is_success() {
        return Err(format!("the answer is {}", answer.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| e.without_url().to_string())? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(format!("the answer has more than {MAX_ANSWER} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The header, unless it asks for something that is not understood here (RFC 7515 section 4.1.11).
fn header_of(token: &str) -> Option<Header> {
    let raw = URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
    let members: Map<String, Json> = serde_json::from_slice(&raw).ok()?;
    if members.contains_key("crit") {
        return None;
    }
    jsonwebtoken::decode_header(token).ok()
}

/// The keys that can verify signatures; others in the set are none of ours.
fn parse_keys(bytes: &[u8]) -> Result<Vec<Key>, &'static str> {
    #[derive(serde::Deserialize)]
    struct Set {
        keys: Vec<Json>,
    }
    let set: Set = serde_json::from_slice(bytes).map_err(|_| "no JSON Web Key Set")?;
    if set.keys.len() > MAX_KEYS {
        return Err("too many keys");
    }
    let keys: Vec<Key> = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok().and_then(key_of)).collect();
    if keys.is_empty() { Err("no key that can verify a signature") } else { Ok(keys) }
}

fn key_of(jwk: Jwk) -> Option<Key> {
    // A shared secret has no place in a set that is published.
    if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
        return None;
    }
    if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match jwk.common.key_algorithm {
        Some(name) => Some(Algorithm::from_str(&name.to_string()).ok()?),
        None => None,
    };
    Some(Key { algorithm, key: DecodingKey::from_jwk(&jwk).ok()?, id: jwk.common.key_id })
}

/// A claim by its name, or by a dotted path into objects.
fn claim<'a>(claims: &'a Map<String, Json>, name: &str) -> Option<&'a Json> {
    if let Some(found) = claims.get(name) {
        return Some(found);
    }
    let mut parts = name.split('.');
    let first = claims.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
