//! Credentials that a catalog or the platform lends: which are used, how they are renewed, and what waiting for them costs others.

use super::*;
use crate::environment::Environment;
use crate::http::Fault as Failed;
use crate::policy::Policy;
use crate::recent::Recent;
use crate::retry::Retry;
use crate::rewrite::Rewrites;
use crate::s3::{MOST_SETTINGS, Network, Object, S3};
use async_trait::async_trait;
use fastdata_types::error::{Error, Result, Stage};
use fastdata_types::store::{CredentialSource, VendedCredential};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn vended(prefix: &str, properties: &[(&str, &str)]) -> VendedCredential {
    let properties = properties.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    VendedCredential { prefix: prefix.to_string(), properties, expires_at_ms: None }
}

/// Vends key `vended-N` for the N-th time it is asked after an invalidation.
#[derive(Debug)]
struct Vending {
    prefix: String,
    generation: AtomicU32,
}

#[async_trait]
impl CredentialSource for Vending {
    async fn current(&self) -> Result<Vec<VendedCredential>> {
        let vended = |prefix: &str, key: String| VendedCredential {
            prefix: prefix.to_string(),
            properties: [("s3.access-key-id", key), ("s3.secret-access-key", "x".into()), ("s3.session-token", "token".into())]
                .into_iter()
                .map(|(name, value)| (name.to_string(), value))
                .collect(),
            expires_at_ms: None,
        };
        let key = format!("vended-{}", self.generation.load(Ordering::SeqCst));
        Ok(vec![vended(&self.prefix, "wide".into()), vended(&format!("{}/t", self.prefix), key)])
    }

    fn invalidate(&self, refused: &[VendedCredential]) {
        let key = format!("vended-{}", self.generation.load(Ordering::SeqCst));
        if refused.iter().any(|vended| vended.properties.values().any(|value| *value == key)) {
            self.generation.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[tokio::test]
async fn the_longest_vended_prefix_wins_and_the_rest_uses_the_configuration() {
    let server = S3Server::start().await;
    for key in ["wh/t/f", "wh/t2/f", "x/f"] {
        server.put("wh", key, "x");
    }
    let source = Vending { prefix: "s3a://wh/wh".into(), generation: AtomicU32::new(0) };
    let store = open(StoreScope { credentials: Some(Arc::new(source)), ..scope(&server) });
    for key in ["wh/t/f", "wh/t2/f", "x/f"] {
        store.read_all(&format!("s3://wh/{key}"), 10).await.unwrap();
    }
    let keys: Vec<_> = server.take_log().into_iter().map(|request| request.signed.access_key_id.unwrap()).collect();
    assert_eq!(keys, ["vended-0", "wide", "test"]);
}

#[tokio::test]
async fn refused_vended_credentials_are_renewed_once() {
    let server = S3Server::start().await;
    server.put("wh", "wh/t/f", content(10));
    let source = Arc::new(Vending { prefix: "s3://wh/wh".into(), generation: AtomicU32::new(0) });
    let store = open(StoreScope { credentials: Some(source.clone()), ..scope(&server) });
    for fault in [Fault::ExpiredToken, Fault::Denied] {
        let before = source.generation.load(Ordering::SeqCst);
        server.fail([fault]);
        assert_eq!(store.read_all("s3://wh/wh/t/f", 10).await.unwrap().len(), 10);
        assert_eq!(source.generation.load(Ordering::SeqCst), before + 1);
    }
    server.fail([Fault::Denied, Fault::Denied]);
    assert_eq!(store.read_all("s3://wh/wh/t/f", 10).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn a_read_that_outlives_credentials_twice_renews_them_twice() {
    let server = S3Server::start().await;
    server.put("wh", "wh/t/f", content(4 * MIB));
    let source = Arc::new(Vending { prefix: "s3://wh/wh".into(), generation: AtomicU32::new(0) });
    let store = open(StoreScope { credentials: Some(source.clone()), ..scope(&server) });
    server.fail([Fault::ExpiredToken, Fault::Truncate(MIB), Fault::ExpiredToken]);
    let whole = 0..4 * MIB as u64;
    assert_eq!(store.read_ranges("s3://wh/wh/t/f", std::slice::from_ref(&whole)).await.unwrap()[0].len(), 4 * MIB);
    assert_eq!(source.generation.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn many_requests_refused_at_once_renew_the_credentials_once() {
    let server = S3Server::start().await;
    server.put("wh", "wh/t/f", content(80 * MIB));
    server.accept_only(["vended-1"]);
    let source = Arc::new(Vending { prefix: "s3://wh/wh".into(), generation: AtomicU32::new(0) });
    let store = open(StoreScope { credentials: Some(source.clone()), ..scope(&server) });
    let whole = 0..60 * MIB as u64;
    assert_eq!(store.read_ranges("s3://wh/wh/t/f", std::slice::from_ref(&whole)).await.unwrap()[0].len(), 60 * MIB);
    assert_eq!(source.generation.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_refused_head_renews_credentials_though_its_answer_has_no_reason() {
    let server = S3Server::start().await;
    server.put("wh", "wh/t/f", content(10));
    let source = Arc::new(Vending { prefix: "s3://wh/wh".into(), generation: AtomicU32::new(0) });
    let store = open(StoreScope { credentials: Some(source.clone()), ..scope(&server) });
    server.fail([Fault::ExpiredToken]);
    assert_eq!(store.size("s3://wh/wh/t/f").await.unwrap(), 10);
    assert_eq!(source.generation.load(Ordering::SeqCst), 1);
    server.fail([Fault::ExpiredToken]);
    let own = open(scope(&server)).size("s3://wh/wh/t/f").await.unwrap_err();
    assert!(own.kind() == ErrorKind::Unauthenticated && own.advice_text().is_some(), "{own}");
}

/// Lends one credential, but for the first so many times that it is asked.
#[derive(Debug, Default)]
struct Ailing {
    good: AtomicU32,
    bad: AtomicU32,
    passes: bool,
}

#[async_trait]
impl CredentialSource for Ailing {
    async fn current(&self) -> Result<Vec<VendedCredential>> {
        let one_less = |n: u32| n.checked_sub(1);
        let was = |counter: &AtomicU32| counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok();
        if !was(&self.good) && was(&self.bad) {
            return Err(Error::new(ErrorKind::Unavailable, Stage::Catalog, "the catalog is away").with_retryable(self.passes));
        }
        Ok(vec![vended("", &[("s3.access-key-id", "lent"), ("s3.secret-access-key", "x")])])
    }

    fn invalidate(&self, _refused: &[VendedCredential]) {}
}

#[tokio::test]
async fn an_outage_of_the_catalog_is_borne_like_one_of_the_store() {
    let server = S3Server::start().await;
    server.put("wh", "f", content(10));
    let open = |source: Ailing| open(StoreScope { credentials: Some(Arc::new(source)), ..scope(&server) });
    // Before a request, in the wait for its permit, and after a refusal.
    for (good, refusals) in [(0, 0), (1, 0), (2, 1)] {
        let store = open(Ailing { good: good.into(), bad: 8.into(), passes: true });
        server.fail(vec![Fault::ExpiredToken; refusals]);
        assert_eq!(store.read_all("s3://wh/f", 10).await.unwrap().len(), 10, "{good}");
        assert_eq!((store.counters().requests, store.counters().retries), (1 + refusals as u64, refusals as u64), "{good}");
    }
    let started = Instant::now();
    let error = open(Ailing { bad: 8.into(), ..Ailing::default() }).read_all("s3://wh/f", 10).await.unwrap_err();
    assert!(error.message().contains("the catalog is away") && started.elapsed() < Duration::from_millis(500), "{error}");
    let error = open(Ailing { bad: 10_000.into(), passes: true, ..Ailing::default() }).read_all("s3://wh/f", 10).await.unwrap_err();
    assert_eq!((error.kind(), error.stage(), error.message()), (ErrorKind::Unavailable, Stage::Catalog, "the catalog is away"));
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
}

/// Lends at once until it is told to be slow, and then never.
#[derive(Debug, Default)]
struct Slow(AtomicBool);

#[async_trait]
impl CredentialSource for Slow {
    async fn current(&self) -> Result<Vec<VendedCredential>> {
        if self.0.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(vec![])
    }

    fn invalidate(&self, _refused: &[VendedCredential]) {}
}

#[tokio::test]
async fn who_waits_for_credentials_keeps_nobody_else_from_asking() {
    let server = S3Server::start().await;
    server.put("wh", "f", content(10));
    let stores = Stores::with_environment(BTreeMap::new());
    let source = Arc::new(Slow::default());
    let waiting = stores.open(StoreScope { credentials: Some(source.clone()), ..scope(&server) }).unwrap();
    let other = stores.open(scope(&server)).unwrap();
    // They take all permits, and those behind them wait for theirs when the credentials end.
    server.fail(vec![Fault::Hang(Duration::from_millis(300)); 96]);
    let reads: Vec<_> = (0..300)
        .map(|_| {
            let waiting = waiting.clone();
            tokio::spawn(async move { waiting.read_all("s3://wh/f", 10).await })
        })
        .collect();
    while server.log_length() < 96 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    source.0.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(600)).await;
    let read = tokio::time::timeout(Duration::from_secs(2), other.read_all("s3://wh/f", 10)).await;
    assert_eq!(read.expect("a permit is free").unwrap().len(), 10);
    assert_eq!(reads.iter().filter(|read| !read.is_finished()).count(), 300 - 96);
    reads.iter().for_each(tokio::task::JoinHandle::abort);
}

#[derive(Debug)]
struct Fixed(Vec<VendedCredential>, Mutex<u32>);

#[async_trait]
impl CredentialSource for Fixed {
    async fn current(&self) -> Result<Vec<VendedCredential>> {
        Ok(self.0.clone())
    }

    fn invalidate(&self, _refused: &[VendedCredential]) {
        *self.1.lock().unwrap() += 1;
    }
}

#[tokio::test]
async fn what_is_lent_wins_in_either_spelling_and_is_not_mixed_with_what_is_there() {
    let server = S3Server::start().await;
    server.put("wh", "f", content(10));
    for (lent, wanted) in [
        (&[("client.access-key-id", "lent"), ("client.secret-access-key", "x")][..], Some("lent")),
        (&[("s3.access-key-id", "lent"), ("s3.secret-access-key", "x")], Some("lent")),
        (&[("s3.anonymous", "true")], None),
        (&[("s3.anonymous", "false")], Some("test")),
        (&[("s3.region", "us-east-1"), ("s3.session-token-expires-at-ms", "1"), ("adls.account-key", "x")], Some("test")),
    ] {
        let source = Fixed(vec![vended("s3", lent)], Mutex::default());
        let mut scope = StoreScope { credentials: Some(Arc::new(source)), ..scope(&server) };
        scope.properties.insert("s3.session-token".into(), "own".into());
        open(scope).read_all("s3://wh/f", 10).await.unwrap();
        let signed = server.take_log().remove(0).signed;
        assert_eq!(signed.access_key_id.as_deref(), wanted, "{lent:?}");
        assert_eq!(signed.session_token.is_some(), wanted == Some("test"), "{lent:?}");
    }
}

/// Its catalog had to be asked twice more for each renewal.
#[derive(Debug, Default)]
struct Repeating(AtomicU32);

#[async_trait]
impl CredentialSource for Repeating {
    async fn current(&self) -> Result<Vec<VendedCredential>> {
        self.0.fetch_add(2, Ordering::SeqCst);
        Ok(vec![])
    }

    fn invalidate(&self, _refused: &[VendedCredential]) {}

    fn retries(&self) -> u64 {
        self.0.load(Ordering::SeqCst).into()
    }
}

#[tokio::test]
async fn what_a_catalog_had_to_be_asked_again_counts_once_among_all_who_read() {
    let server = S3Server::start().await;
    server.put("wh", "f", content(10));
    let source = Arc::new(Repeating::default());
    let store = open(StoreScope { credentials: Some(source.clone()), ..scope(&server) });
    let another = store.counted().unwrap();
    for reader in [&store, &another, &store] {
        reader.read_all("s3://wh/f", 10).await.unwrap();
    }
    let (first, second) = (store.counters().retries, another.counters().retries);
    assert!(first > 0 && second > 0 && first + second == source.retries(), "{first} and {second} of {}", source.retries());
}

/// A refusal is one of what was used, also where that was resolved anew meanwhile.
#[tokio::test]
async fn a_refusal_counts_however_many_credentials_are_in_use() {
    let keys: Vec<String> = (0..3 * MOST_SETTINGS).map(|n| format!("key-{n}")).collect();
    let lent: Vec<_> =
        keys.iter().map(|key| vended(&format!("s3://wh/{key}/"), &[("s3.access-key-id", key), ("s3.secret-access-key", "x")])).collect();
    let source = Arc::new(Fixed(lent.clone(), Mutex::default()));
    let rewrites = Rewrites::new(&[], "/").ok().unwrap();
    let s3 = S3 {
        network: Arc::new(Network {
            clients: Default::default(),
            peers: Default::default(),
            environment: Environment::new(BTreeMap::new()),
        }),
        policy: Arc::new(Policy::new(&["s3://wh".to_string()], rewrites, "/").unwrap()),
        versions: Default::default(),
        counters: Default::default(),
        properties: BTreeMap::new(),
        credentials: Some(source.clone()),
        resolved: Arc::new(Mutex::new(Recent::new(MOST_SETTINGS))),
        renewals: Arc::default(),
    };
    let object = |key: &str| {
        let location = format!("s3://wh/{key}/f");
        Object { spelling: location.clone(), location, bucket: "wh".to_string(), key: format!("{key}/f") }
    };
    let used: Vec<_> = keys.iter().map(|key| s3.settings_with(&object(key), &lent).unwrap()).collect();
    let refused = || Failed::Refused(Error::new(ErrorKind::Unauthenticated, Stage::Store, "expired"));
    for (key, used) in keys.iter().zip(&used) {
        assert!(s3.give_way(refused(), used, &object(key), &mut Retry::new()).await.is_ok());
    }
    assert_eq!(*source.1.lock().unwrap(), keys.len() as u32);
    // What was lent meanwhile was not refused.
    assert!(s3.give_way(refused(), &used[0], &object("key-1"), &mut Retry::new()).await.is_ok());
    assert_eq!(*source.1.lock().unwrap(), keys.len() as u32);
}

/// The service of a platform that lends credentials to the process: so many times it answers 500 first, or it refuses for ever.
struct Platform {
    stores: Stores,
    asked: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Platform {
    async fn start(failures: u32, refusal: &'static str) -> Platform {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        std::fs::write(&token, "hush-token").unwrap();
        let asked = Arc::new(AtomicU32::new(0));
        let counter = asked.clone();
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let lent = r#"{"AccessKeyId": "lent", "SecretAccessKey": "x", "Token": "t", "Expiration": "2199-01-01T00:00:00Z"}"#;
                let (status, body) = match counter.fetch_add(1, Ordering::SeqCst) < failures {
                    true => (refusal, "hush-body"),
                    false => ("200 OK", lent),
                };
                let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let environment = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{address}/hush-path")),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap().to_string()),
        ];
        let stores = Stores::with_environment(environment.map(|(name, value)| (name.to_string(), value)).into());
        Platform { stores, asked, task, _folder: folder }
    }

    fn open(&self, server: &S3Server) -> Arc<dyn Store> {
        let mut scope = scope(server);
        scope.properties.retain(|name, _| !name.contains("access-key"));
        scope.properties.insert("s3.request-timeout".into(), "1".into());
        self.stores.open(scope).unwrap()
    }
}

#[tokio::test]
async fn the_platform_is_asked_once_for_all_tables_and_again_where_it_fails() {
    let server = S3Server::start().await;
    server.put("wh", "f", content(10));
    let platform = Platform::start(0, "").await;
    for _ in 0..5 {
        assert_eq!(platform.open(&server).read_all("s3://wh/f", 10).await.unwrap().len(), 10);
    }
    assert_eq!(platform.asked.load(Ordering::SeqCst), 1);
    assert!(server.take_log().iter().all(|request| request.signed.access_key_id.as_deref() == Some("lent")));
    // The provider tries four times in a second, and is given up then.
    let ailing = Platform::start(6, "500 Bad").await;
    let store = ailing.open(&server);
    assert_eq!(store.read_all("s3://wh/f", 10).await.unwrap().len(), 10);
    assert!(ailing.asked.load(Ordering::SeqCst) == 7 && store.counters().retries == 0);
}

#[tokio::test]
async fn a_platform_that_refuses_is_named_by_kind_and_status_alone() {
    let server = S3Server::start().await;
    let platform = Platform::start(u32::MAX, "403 No").await;
    let error = platform.open(&server).read_all("s3://wh/f", 10).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unauthenticated, false));
    assert!(error.message().contains("container") && error.message().contains("403"), "{error}");
    let gone = Platform::start(u32::MAX, "500 Bad").await;
    let mut scope = scope(&server);
    scope.properties.retain(|name, _| !name.contains("access-key"));
    scope.properties.insert("s3.request-timeout".into(), "0.2".into());
    scope.properties.insert("fastdata.s3.retry-timeout".into(), "0.5".into());
    let unanswered = gone.stores.open(scope).unwrap().read_all("s3://wh/f", 10).await.unwrap_err();
    assert_eq!((unanswered.kind(), unanswered.retryable()), (ErrorKind::Unavailable, true));
    for error in [error, unanswered] {
        let all = format!("{error} {error:?} {:?}", error.advice_text());
        assert!(!all.contains("hush") && !all.contains("http") && error.advice_text().is_some(), "{all}");
    }
    assert!(server.take_log().is_empty());
}
