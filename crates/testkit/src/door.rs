//! A strict door in front of a real REST catalog: nobody passes without a token that is good now.
//!
//! Problem: the reference catalog takes any token and lends no credentials, and the catalogs that do neither forget them within a test.
//! Contract: OAuth2 client credentials are checked (RFC 6749, section 4.4), the tokens given for them expire, an unknown token is 401 and an
//! expired one 419, as the REST catalog specification has it. Whoever asks for vended credentials gets a session of the real store, bound to the table's
//! location, that is said to end soon; whether an older one is refused is up to whatever stands before the store. Everything else is the answer of the
//! catalog behind. Answers of another kind are given on demand, and what was given out is counted.

use crate::loud;
use crate::rest::{Fault, json_answer, pairs, refusal};
use crate::services::http::client;
use crate::services::minio::{self, Credentials, S3};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const MAX_BODY: usize = 64 << 20;
const TOKENS: &str = "/v1/oauth/tokens";
const CREDENTIALS: &str = "/credentials";
const CREDENTIALS_ENDPOINT: &str = "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials";
/// Of one connection, not of what it carries.
const HOP_BY_HOP: [header::HeaderName; 5] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::HOST, header::AUTHORIZATION];

#[derive(Clone)]
pub struct DoorOptions {
    /// The catalog behind.
    pub upstream: String,
    pub client_id: String,
    pub client_secret: String,
    pub token_life: Duration,
    /// `None` lends nothing.
    pub lending: Option<Lending>,
}

/// How credentials are lent.
#[derive(Clone)]
pub struct Lending {
    /// Opens a session of the store for what lies below a location.
    pub session: Arc<dyn Fn(&str) -> Credentials + Send + Sync>,
    /// After which they are said to end.
    pub life: Duration,
    /// Whether their end is told at all; else only the store knows.
    pub tells_end: bool,
    /// Put beside them: `s3.endpoint` and the like.
    pub properties: BTreeMap<String, String>,
}

impl DoorOptions {
    /// For one client, `(id, secret)`, with sessions of a store for what a table's location covers. MinIO itself lets them live a quarter of an hour
    /// at least.
    pub fn lending_sessions(upstream: String, store: S3, client: (&str, &str), token_life: Duration, life: Duration) -> DoorOptions {
        let properties = BTreeMap::from([
            ("s3.endpoint".to_owned(), store.endpoint.clone()),
            ("s3.path-style-access".to_owned(), "true".to_owned()),
            ("client.region".to_owned(), minio::REGION.to_owned()),
        ]);
        let session = move |location: &str| {
            let below = location.split_once("://").map_or(location, |(_, rest)| rest).trim_end_matches('/');
            let policy = json!({
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [format!("arn:aws:s3:::{below}/*")]}],
            });
            store.assume_role(Duration::from_secs(900), Some(&policy.to_string()))
        };
        DoorOptions {
            upstream,
            client_id: client.0.to_owned(),
            client_secret: client.1.to_owned(),
            token_life,
            lending: Some(Lending { session: Arc::new(session), life, tells_end: true, properties }),
        }
    }
}

/// What passed so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    pub tokens: u64,
    /// Requests without a token, or with one that was never given out.
    pub strangers: u64,
    /// Requests with a token that has expired.
    pub expired: u64,
    /// Credentials lent with a table.
    pub lent: u64,
    /// Credentials lent again, at the table's `credentials` endpoint.
    pub renewed: u64,
}

pub struct Door {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    options: DoorOptions,
    http: reqwest::Client,
    state: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    passed: Passed,
    /// Until when each token is good.
    tokens: HashMap<String, Instant>,
    faults: VecDeque<(String, Fault)>,
    renewals: Vec<Instant>,
}

impl Door {
    pub async fn open(options: DoorOptions) -> Door {
        Door::open_on(0, options).await
    }

    /// On a port of loopback, or on a free one where that is 0.
    pub async fn open_on(port: u16, options: DoorOptions) -> Door {
        let shared = Arc::new(Shared { options, http: client(None), state: Mutex::new(Inner::default()) });
        let app = Router::new().fallback(answer).with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        loud::handed_out(&shared.options.client_secret);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Door { address, shared, task }
    }

    /// What a client sets as `uri`.
    pub fn uri(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn passed(&self) -> Passed {
        self.shared.state().passed
    }

    /// When credentials were lent again, oldest first.
    pub fn renewals(&self) -> Vec<Instant> {
        self.shared.state().renewals.clone()
    }

    /// A token that is good for as long as any other, for the test itself.
    pub fn token(&self) -> String {
        self.shared.new_token()
    }

    /// Every token given out so far has expired.
    pub fn expire_tokens(&self) {
        self.shared.state().tokens.values_mut().for_each(|end| *end = Instant::now());
    }

    /// The next request whose path ends so is answered with the fault, whoever asks.
    pub fn fail_next(&self, path_end: &str, fault: Fault) {
        self.shared.state().faults.push_back((path_end.to_owned(), fault));
    }

    /// Whatever is queued is forgotten.
    pub fn forgive(&self) {
        self.shared.state().faults.clear();
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(door): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
        return refusal(413, "BadRequestException", "the body is too large");
    };
    let path = parts.uri.path().to_owned();
    if let Some(fault) = door.queued_fault(&path) {
        return fault.response().await;
    }
    if path == TOKENS {
        return door.exchange(&parts, &body);
    }
    if let Some(refusal) = door.refuse(&parts.headers) {
        return refusal;
    }
    let renewal = path.strip_suffix(CREDENTIALS).filter(|table| is_table(table));
    let passed = match renewal {
        Some(table) => door.renewal(table, &parts.headers).await,
        None => door.pass(&parts, body).await,
    };
    passed.unwrap_or_else(|e| refusal(502, "ServiceFailureException", &format!("the catalog behind the door: {e:?}")))
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queued_fault(&self, path: &str) -> Option<Fault> {
        let mut state = self.state();
        let at = state.faults.iter().position(|(end, _)| path.ends_with(end.as_str()))?;
        state.faults.remove(at).map(|(_, fault)| fault)
    }

    fn exchange(&self, parts: &Parts, body: &Bytes) -> Response {
        match check_client(parts, body, &self.options.client_id, &self.options.client_secret) {
            None => token_answer(&self.new_token(), self.options.token_life),
            Some(refusal) => refusal,
        }
    }

    fn new_token(&self) -> String {
        let token = uuid::Uuid::new_v4().simple().to_string();
        loud::handed_out(&token);
        let mut state = self.state();
        state.passed.tokens += 1;
        state.tokens.insert(token.clone(), Instant::now() + self.options.token_life);
        token
    }

    /// `None` lets the caller pass.
    fn refuse(&self, headers: &HeaderMap) -> Option<Response> {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
        let mut state = self.state();
        match bearer.and_then(|token| state.tokens.get(token)).map(|end| Instant::now() < *end) {
            Some(true) => None,
            Some(false) => {
                state.passed.expired += 1;
                Some(refusal(419, "AuthenticationTimeoutException", "the token has expired"))
            }
            None => {
                state.passed.strangers += 1;
                Some(refusal(401, "NotAuthorizedException", "no token, or an unknown one"))
            }
        }
    }

    async fn pass(&self, parts: &Parts, body: Bytes) -> reqwest::Result<Response> {
        let (path, wants) = (parts.uri.path(), wants_credentials(&parts.headers));
        let (status, headers, body) =
            self.behind(parts.method.clone(), parts.uri.path_and_query().map_or(path, |p| p.as_str()), &parts.headers, body).await?;
        let adds = status.is_success() && parts.method == Method::GET && (path == "/v1/config" || (is_table(path) && wants));
        let body = match serde_json::from_slice::<Value>(&body) {
            Ok(mut answer) if adds && self.options.lending.is_some() => {
                if path == "/v1/config" {
                    announce(&mut answer);
                } else {
                    self.lend(&mut answer).await;
                    self.state().passed.lent += 1;
                }
                answer.to_string().into()
            }
            _ => body,
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response
            .headers_mut()
            .extend(headers.into_iter().filter_map(|(name, value)| Some((name?, value))).filter(|(name, _)| !HOP_BY_HOP.contains(name)));
        Ok(response)
    }

    async fn renewal(&self, table: &str, headers: &HeaderMap) -> reqwest::Result<Response> {
        let (status, _, body) = self.behind(Method::GET, table, headers, Bytes::new()).await?;
        let Some(mut answer) = serde_json::from_slice(&body).ok().filter(|_| status.is_success() && self.options.lending.is_some()) else {
            return Ok((status, body).into_response());
        };
        self.lend(&mut answer).await;
        let mut state = self.state();
        state.passed.renewed += 1;
        state.renewals.push(Instant::now());
        drop(state);
        Ok(json_answer(&json!({"storage-credentials": answer["storage-credentials"]})))
    }

    async fn behind(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> reqwest::Result<(StatusCode, HeaderMap, Bytes)> {
        let kept = headers.iter().filter(|(name, _)| !HOP_BY_HOP.contains(name)).map(|(name, value)| (name.clone(), value.clone()));
        let url = format!("{}{path}", self.options.upstream.trim_end_matches('/'));
        let answer = self.http.request(method, url).headers(kept.collect()).body(body).send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        Ok((status, headers, answer.bytes().await?))
    }

    /// Puts credentials for the table's location into its answer.
    async fn lend(&self, answer: &mut Value) {
        let Some(lending) = self.options.lending.clone() else { return };
        let location = format!("{}/", answer["metadata"]["location"].as_str().unwrap_or_default().trim_end_matches('/'));
        let (asked, session) = (location.clone(), lending.session.clone());
        let session = tokio::task::spawn_blocking(move || session(&asked)).await.expect("a session of the store");
        let mut properties = session.properties();
        if lending.tells_end {
            let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + lending.life;
            properties.insert("s3.session-token-expires-at-ms".to_owned(), end.as_millis().to_string());
        }
        answer["storage-credentials"] = json!([{"prefix": location, "config": properties}]);
        for (key, value) in &lending.properties {
            answer["config"][key] = json!(value);
        }
    }
}

/// The refusal of a request for a token that does not come from this client, which says who it is in the form, or in the header that RFC 6749, section 2.3.1, prefers.
pub(crate) fn check_client(parts: &Parts, body: &Bytes, id: &str, secret: &str) -> Option<Response> {
    let form = pairs(&String::from_utf8_lossy(body));
    let is_form = parts.headers.get(header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    if parts.method != Method::POST || !is_form || form.get("grant_type").map(String::as_str) != Some("client_credentials") {
        return Some(oauth_refusal(StatusCode::BAD_REQUEST, "unsupported_grant_type"));
    }
    let in_form = || Some((form.get("client_id")?.clone(), form.get("client_secret")?.clone()));
    match basic(&parts.headers).or_else(in_form) {
        Some((given_id, given_secret)) if given_id == id && given_secret == secret => None,
        _ => Some(oauth_refusal(StatusCode::UNAUTHORIZED, "invalid_client")),
    }
}

pub(crate) fn token_answer(token: &str, life: Duration) -> Response {
    json_answer(&json!({
        "access_token": token,
        "token_type": "bearer",
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "expires_in": life.as_secs_f64(),
    }))
}

/// Adds the endpoint that only the door has.
fn announce(config: &mut Value) {
    if let Some(endpoints) = config["endpoints"].as_array_mut()
        && !endpoints.iter().any(|known| known == CREDENTIALS_ENDPOINT)
    {
        endpoints.push(json!(CREDENTIALS_ENDPOINT));
    }
}

fn wants_credentials(headers: &HeaderMap) -> bool {
    headers
        .get("x-iceberg-access-delegation")
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.split(',').any(|one| one.trim() == "vended-credentials"))
}

/// Whether a path is that of one table.
fn is_table(path: &str) -> bool {
    let segments: Vec<&str> = path.split('/').collect();
    matches!(segments.as_slice(), ["", "v1", .., "namespaces", _, "tables", _])
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let encoded = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded).ok()?).ok()?;
    text.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned()))
}

fn oauth_refusal(status: StatusCode, code: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], json!({"error": code}).to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rest::{RestOptions, RestServer};

    fn options(upstream: String) -> DoorOptions {
        let session = |location: &str| Credentials {
            access_key_id: location.to_owned(),
            secret_access_key: "secret".to_owned(),
            session_token: Some("session".to_owned()),
        };
        let properties = BTreeMap::from([("s3.region".to_owned(), "eu".to_owned())]);
        DoorOptions {
            upstream,
            client_id: "me".to_owned(),
            client_secret: "secret".to_owned(),
            token_life: Duration::from_secs(60),
            lending: Some(Lending { session: Arc::new(session), life: Duration::from_secs(30), tells_end: true, properties }),
        }
    }

    async fn text(request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.header("x-iceberg-access-delegation", "vended-credentials").send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    #[tokio::test]
    async fn nobody_passes_without_a_token_that_is_good_now() {
        let behind = RestServer::start(RestOptions::default()).await;
        let door = Door::open(options(behind.uri())).await;
        let (http, uri) = (client(None), door.uri());
        let exchange = |secret: &str| {
            let form = format!("grant_type=client_credentials&client_id=me&client_secret={secret}");
            http.post(format!("{uri}{TOKENS}")).header("content-type", "application/x-www-form-urlencoded").body(form)
        };
        assert_eq!(text(exchange("guess")).await.0, 401);
        let (status, answer) = text(exchange("secret")).await;
        assert_eq!((status, answer["expires_in"].as_f64()), (200, Some(60.0)));
        let ask = |token: &str| http.get(format!("{uri}/v1/namespaces")).bearer_auth(token);
        assert_eq!(text(ask("guess")).await.0, 401);
        let token = answer["access_token"].as_str().unwrap();
        assert_eq!(text(ask(token)).await.0, 200);
        door.expire_tokens();
        assert_eq!(text(ask(token)).await.0, 419);
        assert_eq!(door.passed(), Passed { tokens: 1, strangers: 1, expired: 1, ..Passed::default() });
    }

    #[tokio::test]
    async fn a_table_comes_with_credentials_for_its_location_and_gets_new_ones() {
        let behind = RestServer::start(RestOptions::default()).await;
        behind.add_table(&["a"], "t", "s3://b/t/metadata/1.metadata.json", json!({"location": "s3://b/t"}));
        let door = Door::open(options(behind.uri())).await;
        let ask = |path: &str| client(None).get(format!("{}/v1/namespaces/a/tables/{path}", door.uri())).bearer_auth(door.token());
        for path in ["t", "t/credentials"] {
            let lent = text(ask(path)).await.1["storage-credentials"][0].clone();
            assert_eq!((&lent["prefix"], &lent["config"]["s3.access-key-id"]), (&json!("s3://b/t/"), &json!("s3://b/t/")), "{path}");
            assert!(lent["config"]["s3.session-token-expires-at-ms"].is_string(), "{path}");
        }
        assert_eq!(text(ask("t")).await.1["config"]["s3.region"], "eu");
        assert_eq!(text(ask("none")).await.0, 404);
        let passed = door.passed();
        assert_eq!((passed.lent, passed.renewed), (2, 1));
    }
}
