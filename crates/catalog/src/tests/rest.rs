//! REST catalogs that answer as they should: names, pages, tokens, vended credentials, locations.

use super::{metadata, properties};
use crate::open;
use fastdata_testkit::files::LocalFiles;
use fastdata_testkit::rest::{Fault, OAuth, RestOptions, RestServer, Vended};
use fastdata_types::{Catalog, ErrorKind, TableName};
use std::sync::Arc;
use std::time::Duration;

const LOCATION: &str = "s3://lake/db/t";

pub fn catalog(server: &RestServer, more: &[(&str, &str)]) -> (Arc<dyn Catalog>, Arc<LocalFiles>) {
    let uri = server.uri();
    let mut all = vec![("uri", uri.as_str())];
    all.extend(more);
    let files = LocalFiles::new();
    (open("lake", properties(&all), vec![], vec![], files.clone()).unwrap(), files)
}

pub fn add(server: &RestServer, namespace: &[&str], name: &str) {
    server.add_table(namespace, name, &format!("{LOCATION}/metadata/00001-x.metadata.json"), metadata(LOCATION));
}

pub fn oauth(lifetime_ms: u64) -> Option<OAuth> {
    Some(OAuth { client_id: "me".into(), client_secret: "top-secret".into(), lifetime: Duration::from_millis(lifetime_ms) })
}

fn vended(lifetime_ms: u64, prefix: Option<&str>, has_endpoint: bool) -> RestOptions {
    let vended = Vended { lifetime: Duration::from_millis(lifetime_ms), prefix: prefix.map(str::to_owned), has_endpoint };
    RestOptions { vended: Some(vended), ..RestOptions::default() }
}

#[tokio::test]
async fn nested_namespaces_and_many_pages_are_listed_completely() {
    let server = RestServer::start(RestOptions { prefix: Some("wh/eu".into()), page_size: Some(3), ..RestOptions::default() }).await;
    for i in 0..10 {
        add(&server, &["a"], &format!("t{i}"));
        add(&server, &[&format!("n{i}")], "t");
    }
    add(&server, &["a", "b", "c d/e"], "odd?name");
    let (catalog, _) = catalog(&server, &[("warehouse", "w h"), ("rest-page-size", "3")]);
    let all = catalog.list(None).await.unwrap();
    assert_eq!(all.len(), 21);
    assert!(all.is_sorted());
    assert_eq!(catalog.list(Some(&["a".into(), "b".into()])).await.unwrap(), [TableName::new(["a", "b", "c d/e"], "odd?name")]);
    assert_eq!(catalog.list(Some(&["nosuch".into()])).await.unwrap_err().kind(), ErrorKind::NotFound);
    let namespaces = catalog.namespaces().await.unwrap();
    assert!(namespaces.len() >= 11 && namespaces.contains(&vec!["a".to_owned()]), "{namespaces:?}");
    let state = catalog.load(&TableName::new(["a", "b", "c d/e"], "odd?name")).await.unwrap();
    assert_eq!(state.metadata.location, LOCATION);
    let requests = server.requests();
    assert_eq!(requests[0].query, "warehouse=w+h");
    assert_eq!(server.count("/v1/config"), 1, "asked for once");
    assert!(requests.iter().any(|r| r.path == "/v1/wh/eu/namespaces/a%1Fb%1Fc%20d%2Fe/tables/odd%3Fname"), "names are encoded");
    assert!(requests.iter().any(|r| r.query.contains("pageToken=from%203") && r.query.contains("pageSize=3")));
}

#[tokio::test]
async fn an_unknown_table_is_not_found_with_the_nearest_names() {
    let server = RestServer::start(RestOptions::default()).await;
    add(&server, &["db"], "lineitem");
    let (catalog, _) = catalog(&server, &[]);
    for wanted in [TableName::new(["db"], "lineitme"), TableName::new(["dv"], "lineitem"), TableName::new(["db"], "..")] {
        let e = catalog.load(&wanted).await.unwrap_err();
        assert!(e.kind() == ErrorKind::NotFound && e.advice_text().unwrap().contains("db.lineitem"), "{e:?}");
    }
    assert!(catalog.check().await.unwrap().contains("1 namespaces"));
}

/// Ten thousand namespaces, as of a catalog with one for each user: a mistyped name asks a few of them.
#[tokio::test]
async fn a_mistyped_name_in_a_large_catalog_costs_a_few_requests() {
    let server = RestServer::start(RestOptions { page_size: Some(1000), ..RestOptions::default() }).await;
    for i in 0..3000 {
        add(&server, &[&format!("n{i:05}")], "events");
    }
    add(&server, &["n00500", "inner"], "orders");
    let (catalog, _) = catalog(&server, &[]);
    for (wanted, suggested) in [
        (TableName::new(["n00500"], "event"), "n00500.events"),
        (TableName::new(["m00500"], "events"), "n00500.events"),
        (TableName::new(["n00500", "iner"], "orders"), "n00500.inner.orders"),
        (TableName::new(Vec::<String>::new(), "events"), "events"),
    ] {
        let before = server.requests().len();
        let e = catalog.load(&wanted).await.unwrap_err();
        assert!(e.kind() == ErrorKind::NotFound && e.advice_text().unwrap().contains(suggested), "{wanted}: {e:?}");
        let asked = server.requests().len() - before;
        assert!(asked <= 12, "{wanted}: {asked} requests");
    }
    let before = server.requests().len();
    assert_eq!(catalog.some_tables().await.len(), 32);
    assert!(server.requests().len() - before <= 33);
}

#[tokio::test]
async fn a_suggestion_is_not_waited_for_longer_than_it_is_worth() {
    let server = RestServer::start(RestOptions::default()).await;
    add(&server, &["db"], "t");
    let (catalog, _) = catalog(&server, &[]);
    catalog.check().await.unwrap();
    for _ in 0..2 {
        server.fail_next("/db/tables", Fault::Hang);
    }
    let began = std::time::Instant::now();
    let e = catalog.load(&TableName::new(["db"], "s")).await.unwrap_err();
    assert!(e.kind() == ErrorKind::NotFound && catalog.some_tables().await.is_empty(), "{e:?}");
    assert!((3..6).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_client_gets_one_token_for_all_renews_it_before_it_ends_and_once_when_it_is_refused() {
    let server = RestServer::start(RestOptions { oauth: oauth(1500), ..RestOptions::default() }).await;
    add(&server, &["db"], "t");
    let (catalog, _) = catalog(&server, &[("credential", "me:top-secret"), ("scope", "read")]);
    let name = TableName::new(["db"], "t");
    let loads: Vec<_> = (0..20)
        .map(|_| {
            tokio::spawn({
                let (c, n) = (catalog.clone(), name.clone());
                async move { c.load(&n).await.map(drop) }
            })
        })
        .collect();
    for load in loads {
        load.await.unwrap().unwrap();
    }
    assert_eq!(server.count("/oauth/tokens"), 1, "one token for all");
    let form = server.requests().into_iter().find(|r| r.path.ends_with("tokens")).unwrap().body;
    assert_eq!(form, "grant_type=client_credentials&client_id=me&client_secret=top-secret&scope=read");
    tokio::time::sleep(Duration::from_millis(1300)).await;
    catalog.load(&name).await.unwrap();
    assert_eq!(server.count("/oauth/tokens"), 2, "renewed while the old one was still good");
    server.forget_tokens();
    catalog.load(&name).await.unwrap();
    assert_eq!(server.count("/oauth/tokens"), 3, "renewed because it was refused");
}

#[tokio::test]
async fn a_bearer_token_is_sent_and_a_refused_one_is_unauthenticated() {
    let server = RestServer::start(RestOptions { static_token: Some("good-token".into()), ..RestOptions::default() }).await;
    add(&server, &["db"], "t");
    assert_eq!(catalog(&server, &[("token", "good-token")]).0.list(None).await.unwrap().len(), 1);
    for more in [&[("token", "bad-token")][..], &[]] {
        let e = catalog(&server, more).0.list(None).await.unwrap_err();
        assert!(e.kind() == ErrorKind::Unauthenticated && !e.retryable() && !format!("{e:?}").contains("bad-token"), "{e:?}");
    }
}

#[tokio::test]
async fn a_secret_that_the_server_repeats_does_not_reach_the_message() {
    let server = RestServer::start(RestOptions { oauth: oauth(1000), ..RestOptions::default() }).await;
    let (catalog, _) = catalog(&server, &[("credential", "me:wrong-secret")]);
    let e = catalog.list(None).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unauthenticated);
    assert!(e.message().contains("invalid_client") && !format!("{e:?} {catalog:?}").contains("wrong-secret"), "{e:?}");
}

#[tokio::test]
async fn vended_credentials_reach_the_store_and_are_renewed_once_for_all_before_they_expire() {
    for (prefix, has_endpoint) in [(Some("s3://lake/db/t/"), true), (Some("s3"), false), (None, true)] {
        let server = RestServer::start(vended(2000, prefix, has_endpoint)).await;
        add(&server, &["db"], "t");
        let (catalog, files) = catalog(&server, &[("s3.region", "eu")]);
        catalog.load(&TableName::new(["db"], "t")).await.unwrap();
        let request = server.requests().into_iter().find(|r| r.path.ends_with("/tables/t")).unwrap();
        assert_eq!(request.headers["x-iceberg-access-delegation"], "vended-credentials");
        let source = files.last_scope().unwrap().credentials.unwrap();
        assert!(!format!("{source:?}").contains("secret"));
        let first = source.current().await.unwrap();
        assert_eq!(first[0].prefix, prefix.filter(|p| p.contains("://")).unwrap_or_default());
        assert_eq!(first[0].properties["s3.access-key-id"], "key-1");
        tokio::time::sleep(Duration::from_millis(1800)).await;
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                tokio::spawn({
                    let s = source.clone();
                    async move { s.current().await.unwrap() }
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap()[0].properties["s3.access-key-id"], "key-2");
        }
        assert_eq!(server.count("/t/credentials"), 1);
        assert_eq!(server.count("/tables/t"), if has_endpoint { 1 } else { 2 }, "without the endpoint the table is loaded again");
        source.invalidate(&first);
        let second = source.current().await.unwrap();
        assert_eq!(second[0].properties["s3.access-key-id"], "key-2", "what was refused before stays renewed");
        source.invalidate(&second);
        assert_eq!(source.current().await.unwrap()[0].properties["s3.access-key-id"], "key-3", "however new they are");
    }
}

#[tokio::test]
async fn a_key_stays_with_its_secret_whichever_names_they_have() {
    let server = RestServer::start(RestOptions::default()).await;
    let config = [("client.access-key-id", "k"), ("client.secret-access-key", "s"), ("client.region", "eu"), ("s3.anonymous", "false")];
    server.add_table_with_config(&["db"], "t", &format!("{LOCATION}/metadata/1.metadata.json"), metadata(LOCATION), &config);
    let (catalog, files) = catalog(&server, &[]);
    catalog.load(&TableName::new(["db"], "t")).await.unwrap();
    let scope = files.last_scope().unwrap();
    assert_eq!(scope.properties, properties(&[("client.region", "eu"), ("s3.anonymous", "false")]));
    let vended = scope.credentials.unwrap().current().await.unwrap();
    assert_eq!(vended[0].properties, properties(&[("client.access-key-id", "k"), ("client.secret-access-key", "s")]));
}

#[tokio::test]
async fn credentials_that_are_not_vended_again_are_unauthenticated_and_not_replaced_by_others() {
    for has_endpoint in [true, false] {
        let server = RestServer::start(vended(2000, Some("s3://lake/db/t/"), has_endpoint)).await;
        add(&server, &["db"], "t");
        let (catalog, files) = catalog(&server, &[("s3.access-key-id", "own"), ("s3.secret-access-key", "own-secret")]);
        catalog.load(&TableName::new(["db"], "t")).await.unwrap();
        let source = files.last_scope().unwrap().credentials.unwrap();
        let first = source.current().await.unwrap();
        server.stop_vending();
        source.invalidate(&first);
        let e = source.current().await.unwrap_err();
        assert!(e.kind() == ErrorKind::Unauthenticated && !e.retryable() && e.message().contains("db.t"), "{e:?}");
        assert!(e.message().contains(&server.uri()) && e.advice_text().is_some(), "{e:?}");
    }
}

#[tokio::test]
async fn credentials_that_expire_while_the_catalog_is_away_are_had_when_it_is_back() {
    let server = RestServer::start(RestOptions { oauth: oauth(1500), ..vended(1500, Some("s3://lake/db/t/"), true) }).await;
    add(&server, &["db"], "t");
    let settings = [("credential", "me:top-secret"), ("fastdata.rest.retry-timeout", "20")];
    let (catalog, files) = catalog(&server, &settings);
    catalog.load(&TableName::new(["db"], "t")).await.unwrap();
    let source = files.last_scope().unwrap().credentials.unwrap();
    tokio::time::sleep(Duration::from_millis(1600)).await;
    for _ in 0..4 {
        server.fail_next("/oauth/tokens", Fault::Status(503, ""));
        server.fail_next("/t/credentials", Fault::Busy("0"));
    }
    let began = std::time::Instant::now();
    assert_eq!(source.current().await.unwrap()[0].properties["s3.access-key-id"], "key-2");
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(source.retries(), 8);
    // One that stays away is a fault that may pass, for the store to judge.
    source.invalidate(&source.current().await.unwrap());
    drop(server);
    let short = tokio::time::timeout(Duration::from_secs(30), source.current()).await.unwrap().unwrap_err();
    assert!(short.kind() == ErrorKind::Unavailable && short.retryable(), "{short:?}");
}

/// The clock of this machine is ahead of the server's: what was vended this moment seems to have expired.
#[tokio::test]
async fn credentials_that_seem_to_have_expired_are_used_until_the_store_refuses_them() {
    let options = RestOptions { static_token: Some("fixed".into()), ..vended(0, Some("s3://lake/db/t/"), true) };
    let server = RestServer::start(options).await;
    add(&server, &["db"], "t");
    let (catalog, files) = catalog(&server, &[("credential", "me:top-secret")]);
    server.fail_next("/oauth/tokens", Fault::Status(200, r#"{"access_token": "fixed", "token_type": "bearer", "expires_in": 0}"#));
    catalog.load(&TableName::new(["db"], "t")).await.unwrap();
    let source = files.last_scope().unwrap().credentials.unwrap();
    for _ in 0..20 {
        assert_eq!(source.current().await.unwrap()[0].properties["s3.access-key-id"], "key-1");
    }
    catalog.load(&TableName::new(["db"], "t")).await.unwrap();
    assert_eq!((server.count("/t/credentials"), server.count("/oauth/tokens")), (0, 1));
}

#[tokio::test]
async fn all_that_have_a_table_open_share_its_credentials_and_one_renewal() {
    let server = RestServer::start(vended(2000, Some("s3://lake/db/"), true)).await;
    add(&server, &["db"], "t");
    add(&server, &["db"], "other");
    let (catalog, files) = catalog(&server, &[]);
    let mut open = Vec::new();
    for name in ["t", "t", "t", "other"] {
        catalog.load(&TableName::new(["db"], name)).await.unwrap();
        open.push(files.last_scope().unwrap().credentials.unwrap());
    }
    let key = |credentials: Vec<fastdata_types::store::VendedCredential>| credentials[0].properties["s3.access-key-id"].clone();
    for (source, wanted) in open.iter().zip(["key-3", "key-3", "key-3", "key-4"]) {
        assert_eq!(key(source.current().await.unwrap()), wanted, "the newest of the table, and no other table's");
    }
    tokio::time::sleep(Duration::from_millis(1800)).await;
    for source in &open[..3] {
        assert_eq!(key(source.current().await.unwrap()), "key-5");
    }
    assert_eq!((server.count("/t/credentials"), server.count("/other/credentials")), (1, 0));
}

#[tokio::test]
async fn the_store_of_a_table_is_scoped_to_what_the_catalog_says_and_never_to_local_files() {
    let mut options = vended(60_000, Some("s3://vended/prefix"), true);
    options.overrides = [("s3.endpoint", "http://store:9000"), ("warehouse", "file:///")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    let server = RestServer::start(options).await;
    let config = [("s3.region", "table"), ("s3.access-key-id", "k"), ("token", "other"), ("s3.session-token", "x")];
    server.add_table_with_config(&["db"], "t", &format!("{LOCATION}/metadata/1.metadata.json"), metadata("s3://elsewhere/t"), &config);
    server.add_table(&["db"], "local", "file:///etc/metadata/1.metadata.json", metadata("file:///etc"));
    let (remote, files) = catalog(&server, &[("s3.region", "mine"), ("s3.endpoint", "http://mine"), ("warehouse", "logical-name")]);
    let name = TableName::new(["db"], "t");
    remote.load(&name).await.unwrap();
    let scope = files.last_scope().unwrap();
    assert_eq!(scope.allowed, ["s3://lake/db/t", "s3://vended/prefix"]);
    assert_eq!(
        scope.properties,
        properties(&[("s3.endpoint", "http://store:9000"), ("s3.region", "table")]),
        "credentials come from their source only"
    );
    remote.load(&TableName::new(["db"], "local")).await.unwrap();
    assert_eq!(files.last_scope().unwrap().allowed, ["s3://vended/prefix"]);
    let (local, files) = catalog(&server, &[("warehouse", "file:///wh")]);
    local.load(&TableName::new(["db"], "local")).await.unwrap();
    assert_eq!(files.last_scope().unwrap().allowed, ["file:///wh", "s3://vended/prefix"]);
}

#[tokio::test]
async fn the_warehouse_that_a_server_names_is_open_only_where_it_vends_nothing() {
    for (vends, wanted) in [(false, &["s3://lake", LOCATION][..]), (true, &[LOCATION])] {
        let options = if vends { vended(60_000, None, true) } else { RestOptions::default() };
        let overrides = [("warehouse".to_owned(), "s3://lake".to_owned())].into();
        let server = RestServer::start(RestOptions { overrides, ..options }).await;
        add(&server, &["db"], "t");
        let (catalog, files) = catalog(&server, &[]);
        catalog.load(&TableName::new(["db"], "t")).await.unwrap();
        assert_eq!(files.last_scope().unwrap().allowed, wanted);
    }
}

#[tokio::test]
async fn a_table_has_no_second_name_whatever_the_server_makes_of_it() {
    let server = RestServer::start(RestOptions::default()).await;
    for name in ["t", "t@home"] {
        add(&server, &["a", "b"], name);
    }
    let second: [(&[&str], &str); 4] = [(&["a", "b"], "t@main"), (&["a", "b"], "`t`"), (&["a", "b"], "t "), (&["a.b"], "t")];
    for second in second {
        server.add_second_name(&["a", "b"], "t", second);
    }
    let (catalog, _) = catalog(&server, &[]);
    for name in ["t", "t@home"] {
        catalog.load(&TableName::new(["a", "b"], name)).await.unwrap();
    }
    for (namespace, name) in second {
        let e = catalog.load(&TableName::new(namespace.iter().copied(), name)).await.unwrap_err();
        assert!(e.kind() == ErrorKind::NotFound && e.advice_text().unwrap().contains("a.b.t"), "{namespace:?} {name}: {e:?}");
    }
}
