//! The way to one REST catalog: settings from the configuration, merged once with what the server's `config` endpoint says.
//!
//! Contract: credentials travel over TLS, or to this machine, or where the configuration allows plaintext. The server may set the
//! prefix, the separator and storage properties; it may not move the client to another server or touch its credentials. A
//! request refused with 401 or 419 is repeated once with a new token.

use super::DELEGATION;
use super::answers;
use super::auth::{Auth, OAuthClient};
use super::http::{Answer, Http, Refused, Timeouts, is_loopback, not_json, shown};
use super::paths::Paths;
use crate::properties::{Properties, is_storage};
use crate::renew::{Lent, Renewed};
use crate::retries::Retries;
use bytes::Bytes;
use fastdata_types::{Error, ErrorKind, Result, Stage};
use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;
use url::Url;

/// Bytes of an answer other than a table's.
pub const MAX_ANSWER_BYTES: u64 = 32 << 20;
const CONNECT_TIMEOUT_MS: u64 = 10_000;
const SILENCE_TIMEOUT_MS: u64 = 60_000;
const RETRY_TIMEOUT_S: u64 = 60;

pub struct Connection {
    pub catalog: String,
    base: Url,
    warehouse: Option<String>,
    /// From the configuration; the server's word comes first.
    prefix: Option<String>,
    pub page_size: Option<u32>,
    storage: BTreeMap<String, String>,
    http: Arc<Http>,
    auth: Auth,
    /// For this server, and not for one that gives tokens.
    headers: HeaderMap,
    session: Arc<Renewed<Arc<Session>>>,
}

/// What holds once the server has been asked for its configuration.
pub struct Session {
    pub paths: Paths,
    /// Storage properties: the server's defaults, ours above them, the server's overrides above both.
    pub storage: BTreeMap<String, String>,
    /// Where the server keeps its tables, if it says.
    pub warehouse: Option<String>,
    endpoints: Option<Vec<String>>,
}

impl Connection {
    pub fn new(properties: &mut Properties) -> Result<Connection> {
        let base = base_url(properties);
        let allow_plaintext = properties.flag("fastdata.allow-plaintext");
        let token = properties.get("token").map(SecretString::from);
        let client = oauth_client(properties, base.as_ref());
        let (headers, header_secrets) = headers(properties);
        if base.as_ref().is_some_and(is_exposed) && headers.keys().any(|name| name != DELEGATION.0) && !allow_plaintext {
            properties.problem(
                "'uri' is plain http to another machine and would carry what `header.` properties hold in the clear: use https, or set fastdata.allow-plaintext = \"true\"",
            );
        }
        for (key, url) in [("uri", base.as_ref()), ("oauth2-server-uri", client.as_ref().map(|c| &c.token_url))] {
            if url.is_some_and(is_exposed) && (token.is_some() || client.is_some()) && !allow_plaintext {
                properties.problem(format!(
                    "'{key}' is plain http to another machine and would carry a token or credential in the clear: use https, or set fastdata.allow-plaintext = \"true\""
                ));
            }
        }
        if properties.flag("rest.sigv4-enabled") {
            properties.problem("requests signed with AWS SigV4 (`rest.sigv4-enabled`) are not supported".to_owned());
        }
        if let Some(kind) = properties.get("rest.auth.type").filter(|kind| !["oauth2", "none"].contains(kind)) {
            let problem = format!("`rest.auth.type` '{kind}' is not supported: use oauth2 or none");
            properties.problem(problem);
        }
        let page_size = match properties.get("rest-page-size").map(str::parse::<u32>) {
            None => None,
            Some(Ok(size)) if size > 0 => Some(size),
            Some(_) => {
                properties.problem("property 'rest-page-size' must be a number above 0");
                None
            }
        };
        let timeouts = Timeouts {
            connect: properties.milliseconds("rest.client.connection-timeout-ms", CONNECT_TIMEOUT_MS),
            silence: properties.milliseconds("rest.client.socket-timeout-ms", SILENCE_TIMEOUT_MS),
            patience: properties.seconds("fastdata.rest.retry-timeout", RETRY_TIMEOUT_S),
        };
        properties.finish()?;
        let base = base.ok_or_else(|| Error::internal(Stage::Catalog, "the catalog has no uri"))?;
        Ok(Connection {
            catalog: properties.catalog().to_owned(),
            warehouse: properties.get("warehouse").map(str::to_owned),
            prefix: properties.get("prefix").map(str::to_owned),
            page_size,
            storage: properties.storage(),
            http: Arc::new(Http::new(&base, &timeouts)?),
            auth: Auth::new(token, client, header_secrets),
            headers,
            base,
            session: Renewed::empty(),
        })
    }

    /// What the server's `config` endpoint says, asked for once by all who want it at the same time, and once for good where it answers.
    pub async fn session(self: &Arc<Self>, retries: &Retries) -> Result<Arc<Session>> {
        let open = || {
            let (connection, retries) = (Arc::clone(self), retries.clone());
            async move { Ok(Lent { value: connection.open_session(&retries).await?, good_for: None }) }
        };
        self.session.get(open).await
    }

    async fn open_session(&self, retries: &Retries) -> Result<Arc<Session>> {
        let query = match &self.warehouse {
            Some(warehouse) => {
                format!("?{}", url::form_urlencoded::Serializer::new(String::new()).append_pair("warehouse", warehouse).finish())
            }
            None => String::new(),
        };
        let config: answers::Config = self.get(&format!("v1/config{query}"), "the catalog's configuration", retries).await?;
        let (defaults, overrides) = (answers::texts(config.defaults), answers::texts(config.overrides));
        if let Some(uri) = overrides.get("uri") {
            self.stay_on_this_server(uri)?;
        }
        let from_server = |key: &str| overrides.get(key).or_else(|| defaults.get(key));
        let prefix = overrides.get("prefix").or(self.prefix.as_ref()).or_else(|| defaults.get("prefix"));
        let mut storage: BTreeMap<String, String> =
            defaults.iter().filter(|(k, _)| is_storage(k)).map(|(k, v)| (k.clone(), v.clone())).collect();
        storage.extend(self.storage.clone());
        storage.extend(overrides.iter().filter(|(k, _)| is_storage(k)).map(|(k, v)| (k.clone(), v.clone())));
        Ok(Arc::new(Session {
            paths: Paths::new(prefix.map(String::as_str), from_server("namespace-separator").map(String::as_str)),
            storage,
            warehouse: from_server("warehouse").cloned(),
            endpoints: config.endpoints,
        }))
    }

    fn stay_on_this_server(&self, uri: &str) -> Result<()> {
        let other = Url::parse(uri).ok().filter(|other| other.origin() != self.base.origin());
        match other {
            None => Ok(()),
            Some(other) => Err(Error::new(
                ErrorKind::Config,
                Stage::Catalog,
                format!(
                    "{} sends its clients on to {}: no credential is sent there unasked",
                    self.shown_base(),
                    other.origin().ascii_serialization()
                ),
            )
            .advice("if that server is the catalog, set it as `uri`")),
        }
    }

    /// The JSON at a path below the catalog's `uri`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, what: &str, retries: &Retries) -> Result<T> {
        match self.try_get(path, &[], MAX_ANSWER_BYTES, retries).await? {
            Ok(body) => self.parse(path, &body),
            Err(refused) => Err(self.refusal(refused, path, what)),
        }
    }

    /// The body at a path, or the server's refusal for the caller to judge.
    pub async fn try_get(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
        limit: u64,
        retries: &Retries,
    ) -> Result<Result<Bytes, Refused>> {
        let url = self.url(path)?;
        let mut may_repeat = true;
        loop {
            let token = self.auth.bearer(&self.http, retries).await?;
            let request = || {
                let mut request = self.http.client().get(url.clone()).header("accept", "application/json");
                for (name, value) in headers {
                    request = request.header(*name, *value);
                }
                let ours = |name: &HeaderName| {
                    name == ACCEPT || (name == AUTHORIZATION && token.is_some()) || headers.iter().any(|(known, _)| name == known)
                };
                for (name, value) in self.headers.iter().filter(|(name, _)| !ours(name)) {
                    request = request.header(name, value);
                }
                bearing(request, token.as_ref())
            };
            match self.http.send(request, limit, |text| self.auth.blot(text, token.as_ref()), retries).await? {
                Answer::Body(body) => return Ok(Ok(body)),
                Answer::Refused(refused) => {
                    let expired = matches!(refused.status.as_u16(), 401 | 419);
                    let renewable = expired && token.as_ref().is_some_and(|token| self.auth.refused(token));
                    if !(renewable && may_repeat) {
                        return Ok(Err(refused));
                    }
                    may_repeat = false;
                    retries.add();
                }
            }
        }
    }

    pub fn parse<T: DeserializeOwned>(&self, path: &str, body: &[u8]) -> Result<T> {
        let url = self.url(path)?;
        crate::metadata::check_depth(body).map_err(|e| e.context(shown(&url)))?;
        serde_json::from_slice(body).map_err(|e| match e.classify() {
            serde_json::error::Category::Data => crate::metadata::json_error(&e).context(format!("the answer of {}", shown(&url))),
            _ => not_json(&url, "something else"),
        })
    }

    pub fn refusal(&self, refused: Refused, path: &str, what: &str) -> Error {
        match self.url(path) {
            Ok(url) => refused.error(&url, what),
            Err(e) => e,
        }
    }

    /// A path below `uri` from an absolute URL or a path that the server gave; `None` where it leads to another server.
    pub fn own_path(&self, given: &str) -> Option<String> {
        let base = self.base_text();
        match Url::parse(given) {
            Ok(url) if url.origin() == self.base.origin() => url.as_str().strip_prefix(&base)?.strip_prefix('/').map(str::to_owned),
            Ok(_) => None,
            Err(_) => Some(given.trim_start_matches('/').to_owned()),
        }
    }

    pub fn shown_base(&self) -> String {
        shown(&self.base)
    }

    pub fn is_anonymous(&self) -> bool {
        self.auth.is_anonymous()
    }

    /// Where the configuration says that tables are, if that is a location.
    pub fn warehouse(&self) -> Option<&str> {
        self.warehouse.as_deref()
    }

    fn base_text(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    fn url(&self, path: &str) -> Result<Url> {
        Url::parse(&format!("{}/{path}", self.base_text()))
            .map_err(|e| Error::internal(Stage::Catalog, format!("no URL can be made below {}", self.shown_base())).source(e))
    }
}

impl Session {
    /// Whether the server may have an endpoint: it lists it, or lists none at all.
    pub fn may_have(&self, endpoint: &str) -> bool {
        self.endpoints.as_ref().is_none_or(|list| list.iter().any(|e| e == endpoint))
    }
}

fn bearing(request: RequestBuilder, token: Option<&SecretString>) -> RequestBuilder {
    match token {
        Some(token) => request.bearer_auth(token.expose_secret()),
        None => request,
    }
}

fn base_url(properties: &mut Properties) -> Option<Url> {
    let uri = properties.required("uri", "https://catalog.example.com/api");
    if uri.is_empty() {
        return None;
    }
    http_url(&uri, "uri", properties)
}

fn http_url(text: &str, key: &str, properties: &mut Properties) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.host().is_some());
    match url {
        None => properties.problem(format!("property '{key}' is no http or https URL")),
        Some(ref url) if !url.username().is_empty() || url.password().is_some() => {
            properties.problem(format!("property '{key}' holds a user or password: use `credential` or `token`"));
        }
        Some(ref url) if url.query().is_some() || url.fragment().is_some() => {
            properties.problem(format!("property '{key}' has a query or fragment"));
        }
        Some(_) => {}
    }
    url
}

/// Whether what is sent there can be read on the way.
fn is_exposed(url: &Url) -> bool {
    url.scheme() == "http" && !is_loopback(url)
}

fn oauth_client(properties: &mut Properties, base: Option<&Url>) -> Option<OAuthClient> {
    let text = |key: &str| properties.get(key).map(str::to_owned);
    let (credential, token_url) = (text("credential"), text("oauth2-server-uri"));
    let (scope, audience, resource) = (text("scope"), text("audience"), text("resource"));
    let Some(credential) = credential else {
        if token_url.is_some() && properties.get("token").is_none() {
            properties.problem("'oauth2-server-uri' is set, but 'credential' is missing".to_owned());
        }
        return None;
    };
    let token_url = match token_url {
        Some(text) => http_url(&text, "oauth2-server-uri", properties),
        None => base.and_then(|base| Url::parse(&format!("{}/v1/oauth/tokens", base.as_str().trim_end_matches('/'))).ok()),
    }?;
    let (id, secret) = OAuthClient::parse_credential(&credential);
    if secret.expose_secret().is_empty() || id.as_ref().is_some_and(String::is_empty) {
        properties.problem("property 'credential' must be CLIENT_ID:CLIENT_SECRET".to_owned());
    }
    Some(OAuthClient { id, secret, token_url, scope, audience, resource })
}

/// The properties `header.NAME`; their values are kept out of messages.
fn headers(properties: &mut Properties) -> (HeaderMap, Vec<SecretString>) {
    let given: Vec<(String, String)> =
        properties.entries().filter_map(|(key, value)| Some((key.strip_prefix("header.")?.to_owned(), value.to_owned()))).collect();
    let (mut headers, mut secrets) = (HeaderMap::new(), Vec::new());
    for (name, value) in given {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            (Ok(header), Ok(mut content)) => {
                content.set_sensitive(true);
                headers.insert(header, content);
                secrets.push(value.into());
            }
            _ => properties.problem(format!("property 'header.{name}' is no valid header")),
        }
    }
    (headers, secrets)
}
