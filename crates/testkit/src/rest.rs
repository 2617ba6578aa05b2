//! A small Iceberg REST catalog for tests, with the faults that real ones have.
//!
//! Contract: serves the tables it is given, keeps a log of every request, vends numbered credentials, and answers with the faults a
//! test has queued. Tokens and credentials live as long as the options say.

use crate::loud;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[derive(Clone, Default)]
pub struct RestOptions {
    /// Put between `v1` and the resources, and announced by `config`.
    pub prefix: Option<String>,
    /// Added to the `overrides` of `config`.
    pub overrides: BTreeMap<String, String>,
    /// Entries of one page of a list; `None` answers everything at once.
    pub page_size: Option<usize>,
    /// Requests need a token of the OAuth endpoint, or this fixed one.
    pub oauth: Option<OAuth>,
    pub static_token: Option<String>,
    pub vended: Option<Vended>,
}

#[derive(Clone)]
pub struct OAuth {
    pub client_id: String,
    pub client_secret: String,
    /// Announced as `expires_in`; the server itself forgets a token after it.
    pub lifetime: Duration,
}

#[derive(Clone)]
pub struct Vended {
    pub lifetime: Duration,
    /// In `storage-credentials` below this location; `None` puts them into the table's `config`.
    pub prefix: Option<String>,
    /// Whether tables have a `credentials` endpoint.
    pub has_endpoint: bool,
}

/// An answer that takes the place of the real one.
#[derive(Clone)]
pub enum Fault {
    Status(u16, &'static str),
    /// A refusal of the catalog's own, in these words.
    Says(u16, String),
    /// 503 with this `Retry-After`.
    Busy(&'static str),
    Html,
    NotJson,
    /// Says nothing, for ever.
    Hang,
    RedirectTo(String),
    /// JSON that goes on as a catalog's answer would for at least this many bytes, without a length in its header.
    Huge(usize),
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Logged {
    pub method: String,
    /// As sent, not decoded.
    pub path: String,
    pub query: String,
    pub headers: HashMap<String, String>,
    pub body: String,
}

pub struct RestServer {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    options: RestOptions,
    state: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    tables: BTreeMap<(Vec<String>, String), Table>,
    log: Vec<Logged>,
    faults: VecDeque<(String, Fault)>,
    tokens: HashMap<String, Instant>,
    tokens_made: u64,
    vended: u64,
    vends_no_more: bool,
}

#[derive(Clone)]
struct Table {
    metadata_location: String,
    metadata: Value,
    config: BTreeMap<String, String>,
    is_listed: bool,
}

impl RestServer {
    pub async fn start(options: RestOptions) -> RestServer {
        options.oauth.iter().map(|oauth| &oauth.client_secret).chain(&options.static_token).for_each(|secret| loud::handed_out(secret));
        let shared = Arc::new(Shared { options, state: Mutex::new(Inner::default()) });
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        RestServer { address, shared, task }
    }

    /// What a client sets as `uri`.
    pub fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn add_table(&self, namespace: &[&str], name: &str, metadata_location: &str, metadata: Value) {
        self.add_table_with_config(namespace, name, metadata_location, metadata, &[]);
    }

    pub fn add_table_with_config(&self, namespace: &[&str], name: &str, metadata_location: &str, metadata: Value, config: &[(&str, &str)]) {
        let key = (namespace.iter().map(|n| (*n).to_owned()).collect(), name.to_owned());
        let config = config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.state().tables.insert(key, Table { metadata_location: metadata_location.to_owned(), metadata, config, is_listed: true });
    }

    /// From now on no credentials come with tables, nor where they are renewed.
    pub fn stop_vending(&self) {
        self.state().vends_no_more = true;
    }

    /// From now on the table is answered under this name too, which no list has.
    pub fn add_second_name(&self, namespace: &[&str], name: &str, second: (&[&str], &str)) {
        let key = |namespace: &[&str], name: &str| (namespace.iter().map(|n| (*n).to_owned()).collect(), name.to_owned());
        let mut state = self.state();
        let table = state.tables[&key(namespace, name)].clone();
        state.tables.insert(key(second.0, second.1), Table { is_listed: false, ..table });
    }

    /// The next request whose path ends so is answered with the fault.
    pub fn fail_next(&self, path_end: &str, fault: Fault) {
        self.state().faults.push_back((path_end.to_owned(), fault));
    }

    /// Drops the faults that have not come to pass.
    pub fn forgive(&self) {
        self.state().faults.clear();
    }

    /// Every token given out so far is refused from now on.
    pub fn forget_tokens(&self) {
        self.state().tokens.clear();
    }

    pub fn requests(&self) -> Vec<Logged> {
        self.state().log.clone()
    }

    /// How many requests had a path that ends so.
    pub fn count(&self, path_end: &str) -> usize {
        self.state().log.iter().filter(|r| r.path.ends_with(path_end)).count()
    }

    fn state(&self) -> MutexGuard<'_, Inner> {
        self.shared.state()
    }
}

impl Drop for RestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    let path = parts.uri.path().to_owned();
    let fault = {
        let mut state = shared.state();
        state.log.push(Logged {
            method: parts.method.to_string(),
            path: path.clone(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers.iter().map(|(k, v)| (k.to_string(), v.to_str().unwrap_or_default().to_owned())).collect(),
            body: String::from_utf8_lossy(&body).into_owned(),
        });
        let at = state.faults.iter().position(|(end, _)| path.ends_with(end.as_str()));
        at.and_then(|at| state.faults.remove(at))
    };
    if let Some((_, fault)) = fault {
        return fault.response().await;
    }
    if path == "/v1/oauth/tokens" {
        return shared.token(&body);
    }
    if !shared.knows(&parts.headers) {
        return refusal(401, "NotAuthorizedException", "the token is unknown or expired");
    }
    shared.resource(&path, parts.uri.query().unwrap_or_default())
}

impl Shared {
    fn token(&self, body: &Bytes) -> Response {
        let form: HashMap<String, String> = pairs(&String::from_utf8_lossy(body));
        let is = |key: &str, value: &str| form.get(key).map(String::as_str) == Some(value);
        let Some(oauth) = &self.options.oauth else { return refusal(404, "NotFound", "no tokens here") };
        if !(is("grant_type", "client_credentials") && is("client_id", &oauth.client_id) && is("client_secret", &oauth.client_secret)) {
            // Servers that repeat what they were sent exist.
            let given = form.get("client_secret").cloned().unwrap_or_default();
            let body = json!({"error": "invalid_client", "error_description": format!("unknown secret {given}")});
            return (StatusCode::UNAUTHORIZED, body.to_string()).into_response();
        }
        let mut state = self.state();
        state.tokens_made += 1;
        let token = format!("token-{}-{}", state.tokens_made, uuid::Uuid::new_v4().simple());
        loud::handed_out(&token);
        state.tokens.insert(token.clone(), Instant::now() + oauth.lifetime);
        json_answer(&json!({"access_token": token, "token_type": "bearer", "expires_in": oauth.lifetime.as_secs_f64()}))
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        if self.options.oauth.is_none() && self.options.static_token.is_none() {
            return true;
        }
        let bearer = headers.get("authorization").and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
        let Some(token) = bearer else { return false };
        self.options.static_token.as_deref() == Some(token) || self.state().tokens.get(token).is_some_and(|end| Instant::now() < *end)
    }

    fn resource(&self, path: &str, query: &str) -> Response {
        if path == "/v1/config" {
            let mut overrides = self.options.overrides.clone();
            overrides.extend(self.options.prefix.iter().map(|prefix| ("prefix".to_owned(), prefix.clone())));
            return json_answer(&json!({"defaults": {}, "overrides": overrides}));
        }
        let root = self.options.prefix.as_ref().map_or_else(|| "/v1/".to_owned(), |prefix| format!("/v1/{prefix}/"));
        let Some(rest) = path.strip_prefix(&root) else { return refusal(404, "NotFound", "no such resource") };
        let segments: Vec<String> = rest.split('/').map(decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let query = pairs(query);
        match segments.as_slice() {
            ["namespaces"] => self.namespaces(&query),
            ["namespaces", namespace, "tables"] => self.tables(&levels(namespace), &query),
            ["namespaces", namespace, "tables", table] => self.table(levels(namespace), table),
            ["namespaces", namespace, "tables", table, "credentials"] => self.credentials(levels(namespace), table),
            _ => refusal(404, "NotFound", "no such resource"),
        }
    }

    fn namespaces(&self, query: &HashMap<String, String>) -> Response {
        let parent = query.get("parent").map(|p| levels(p)).unwrap_or_default();
        let depth = parent.len() + 1;
        let state = self.state();
        let found: BTreeSet<Vec<String>> = state
            .tables
            .keys()
            .map(|(n, _)| n)
            .filter(|n| n.len() >= depth && n.starts_with(&parent))
            .map(|n| n[..depth].to_vec())
            .collect();
        drop(state);
        self.page("namespaces", found.into_iter().map(|n| json!(n)).collect(), query)
    }

    fn tables(&self, namespace: &[String], query: &HashMap<String, String>) -> Response {
        let state = self.state();
        if !state.tables.keys().any(|(n, _)| n.starts_with(namespace)) {
            return refusal(404, "NoSuchNamespaceException", "no such namespace");
        }
        let listed = state.tables.iter().filter(|((n, _), table)| n == namespace && table.is_listed);
        let found = listed.map(|((n, t), _)| json!({"namespace": n, "name": t})).collect();
        drop(state);
        self.page("identifiers", found, query)
    }

    fn page(&self, key: &str, entries: Vec<Value>, query: &HashMap<String, String>) -> Response {
        let start: usize = query.get("pageToken").and_then(|t| t.strip_prefix("from ")?.parse().ok()).unwrap_or(0);
        let size = self.options.page_size.unwrap_or(usize::MAX);
        let end = start.saturating_add(size).min(entries.len());
        let page = entries.get(start..end).unwrap_or_default();
        let next = (end < entries.len()).then(|| format!("from {end}"));
        json_answer(&json!({key: page, "next-page-token": next}))
    }

    fn table(&self, namespace: Vec<String>, name: &str) -> Response {
        let Some(table) = self.state().tables.get(&(namespace, name.to_owned())).cloned() else {
            return refusal(404, "NoSuchTableException", "no such table");
        };
        let mut answer = json!({"metadata-location": table.metadata_location, "metadata": table.metadata, "config": table.config});
        merge(&mut answer, self.vend());
        json_answer(&answer)
    }

    fn credentials(&self, namespace: Vec<String>, name: &str) -> Response {
        let has_endpoint = self.options.vended.as_ref().is_some_and(|v| v.has_endpoint);
        if !has_endpoint || !self.state().tables.contains_key(&(namespace, name.to_owned())) {
            return refusal(404, "NotFound", "no such resource");
        }
        json_answer(&self.vend())
    }

    /// Numbered, so that a test can tell one lot from the next.
    fn vend(&self) -> Value {
        let Some(vended) = &self.options.vended else { return json!({}) };
        let mut state = self.state();
        if state.vends_no_more {
            return json!({});
        }
        state.vended += 1;
        let ends = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + vended.lifetime;
        let secret = format!("vended-secret-{}", state.vended);
        loud::handed_out(&secret);
        let properties = json!({
            "s3.access-key-id": format!("key-{}", state.vended),
            "s3.secret-access-key": secret,
            "s3.session-token": "session",
            "s3.session-token-expires-at-ms": ends.as_millis().to_string(),
        });
        match &vended.prefix {
            Some(prefix) => json!({"storage-credentials": [{"prefix": prefix, "config": properties}]}),
            None => json!({"config": properties}),
        }
    }
}

impl Fault {
    pub(crate) async fn response(self) -> Response {
        match self {
            Fault::Status(status, body) => (StatusCode::from_u16(status).unwrap_or_default(), body).into_response(),
            Fault::Says(status, words) => refusal(status, "ForbiddenException", &words),
            Fault::Busy(after) => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", after)]).into_response(),
            Fault::Html => ([("content-type", "text/html; charset=utf-8")], "<html>please log in</html>").into_response(),
            Fault::NotJson => "plain words".into_response(),
            Fault::Hang => std::future::pending().await,
            Fault::RedirectTo(url) => (StatusCode::TEMPORARY_REDIRECT, [("location", url)]).into_response(),
            Fault::Huge(bytes) => {
                let entries = Bytes::from(r#"["a_namespace"],"#.repeat(1 << 12));
                let start = Bytes::from_static(br#"{"metadata-location":"s3://lake/t","metadata":{"schemas":[]},"namespaces":["#);
                let end = Bytes::from_static(br#"["the_last"]]}"#);
                let entries = std::iter::repeat_n(entries.clone(), bytes.div_ceil(entries.len()));
                let chunks = std::iter::once(start).chain(entries).chain([end]).map(Ok::<_, std::io::Error>);
                let body = Body::from_stream(futures::stream::iter(chunks));
                ([("content-type", "application/json")], body).into_response()
            }
        }
    }
}

pub(crate) fn json_answer(body: &Value) -> Response {
    ([("content-type", "application/json")], body.to_string()).into_response()
}

pub(crate) fn refusal(status: u16, kind: &str, message: &str) -> Response {
    let body = json!({"error": {"message": message, "type": kind, "code": status}});
    (StatusCode::from_u16(status).unwrap_or_default(), body.to_string()).into_response()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

fn levels(namespace: &str) -> Vec<String> {
    namespace.split('\u{1f}').map(str::to_owned).collect()
}

pub(crate) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

pub(crate) fn pairs(query: &str) -> HashMap<String, String> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(&value.replace('+', " ")))
    };
    query.split('&').filter(|p| !p.is_empty()).map(pair).collect()
}
