//! REST catalogs that answer as they should not: proxies, outages, lies.

use super::rest::{add, catalog, oauth};
use super::{metadata, properties};
use crate::open;
use fastdata_testkit::files::LocalFiles;
use fastdata_testkit::rest::{Fault, RestOptions, RestServer};
use fastdata_types::{Catalog, Error, ErrorKind, TableName};
use std::time::Instant;

async fn load(catalog: &dyn Catalog) -> Result<(), Error> {
    catalog.load(&TableName::new(["db"], "t")).await.map(drop)
}

async fn failure_of(fault: Fault) -> Error {
    let server = RestServer::start(RestOptions::default()).await;
    add(&server, &["db"], "t");
    for _ in 0..10 {
        server.fail_next("/tables/t", fault.clone());
    }
    let (catalog, _) = catalog(&server, &[("fastdata.rest.retry-timeout", "1")]);
    let e = load(catalog.as_ref()).await.unwrap_err();
    assert!(!e.message().contains("log in") && !e.message().contains("plain words"), "{e}");
    e
}

#[tokio::test]
async fn what_is_no_json_is_said_to_be_none_with_the_endpoint() {
    for fault in [Fault::Html, Fault::NotJson] {
        let e = failure_of(fault).await;
        assert!(e.kind() == ErrorKind::Unavailable && !e.retryable(), "{e:?}");
        assert!(e.message().contains("/tables/t") && e.advice_text().unwrap().contains("uri"), "{e:?}");
    }
}

#[tokio::test]
async fn statuses_map_to_kinds_by_what_the_caller_must_do() {
    for (status, kind, retryable) in [
        (400, ErrorKind::InvalidRequest, false),
        (401, ErrorKind::Unauthenticated, false),
        (403, ErrorKind::PermissionDenied, false),
        (404, ErrorKind::NotFound, false),
        (419, ErrorKind::Unauthenticated, false),
        (429, ErrorKind::Unavailable, true),
        (500, ErrorKind::Unavailable, true),
        (501, ErrorKind::Unsupported, false),
        (503, ErrorKind::Unavailable, true),
    ] {
        let e = failure_of(Fault::Status(status, "not json")).await;
        assert_eq!((e.kind(), e.retryable()), (kind, retryable), "{status}: {e:?}");
        assert!(e.message().contains(&status.to_string()) && e.message().contains("http://127.0.0.1"), "{e}");
    }
    let body = r#"{"error":{"message":"odd\u001b[31m words","type":"ForbiddenException","code":403}}"#;
    let e = failure_of(Fault::Status(403, body)).await;
    assert!(e.message().contains("ForbiddenException: odd [31m words"), "{e}");
}

/// What each fault of a server that has answered before costs, and that the load tells it.
#[tokio::test]
async fn faults_that_may_pass_are_repeated_counted_and_given_up_when_the_patience_ends() {
    let server = RestServer::start(RestOptions { oauth: oauth(60_000), ..RestOptions::default() }).await;
    add(&server, &["db"], "t");
    let settings = [
        ("rest.client.socket-timeout-ms", "300"),
        ("fastdata.rest.retry-timeout", "2"),
        ("credential", "me:top-secret"),
        ("uri", &server.uri()),
    ];
    let catalog = open("lake", properties(&settings), vec![], vec![], LocalFiles::new()).unwrap();
    let name = TableName::new(["db"], "t");
    let retries = async || catalog.load(&name).await.unwrap().catalog_retries;
    assert_eq!(retries().await, 0);
    for fault in
        [Fault::Status(408, ""), Fault::Busy("0"), Fault::Status(500, ""), Fault::Status(502, ""), Fault::Status(504, ""), Fault::Hang]
    {
        server.fail_next("/tables/t", fault);
        assert_eq!(retries().await, 1);
    }
    for _ in 0..4 {
        server.fail_next("/tables/t", Fault::Busy("0"));
    }
    assert_eq!(retries().await, 4, "more often than a server is tried that never answered");
    server.forget_tokens();
    server.fail_next("/oauth/tokens", Fault::Status(503, ""));
    assert_eq!(retries().await, 2, "the token's request, and the table's with the new one");
    assert_eq!(retries().await, 0);
    for (fault, least_ms) in [(Fault::Hang, 1000), (Fault::Status(503, ""), 500)] {
        for _ in 0..20 {
            server.fail_next("/tables/t", fault.clone());
        }
        let started = Instant::now();
        let e = catalog.load(&name).await.unwrap_err();
        assert!(e.kind() == ErrorKind::Unavailable && e.retryable(), "{e:?}");
        assert!((least_ms..3000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
        server.forgive();
    }
    let before = server.count("/tables/t");
    for _ in 0..5 {
        server.fail_next("/tables/t", Fault::Status(500, ""));
    }
    assert!(catalog.load(&name).await.unwrap_err().message().contains("500"));
    assert_eq!(server.count("/tables/t") - before, 3, "an error of the server's own seldom passes");
}

#[tokio::test]
async fn a_server_that_never_answered_as_it_should_is_given_up_soon() {
    for (fault, attempts) in [(Fault::Status(503, ""), 3), (Fault::Status(500, ""), 3), (Fault::Hang, 1)] {
        let server = RestServer::start(RestOptions::default()).await;
        add(&server, &["db"], "t");
        for _ in 0..20 {
            server.fail_next("/v1/config", fault.clone());
        }
        let (catalog, _) = catalog(&server, &[("rest.client.socket-timeout-ms", "400")]);
        let started = Instant::now();
        let e = load(catalog.as_ref()).await.unwrap_err();
        assert!(e.kind() == ErrorKind::Unavailable && e.retryable(), "{e:?}");
        assert!(started.elapsed().as_millis() < 1500 && server.count("/v1/config") == attempts, "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn all_who_ask_a_server_that_hangs_are_told_at_the_same_time() {
    let server = RestServer::start(RestOptions::default()).await;
    for _ in 0..50 {
        server.fail_next("/v1/config", Fault::Hang);
    }
    let (catalog, _) = catalog(&server, &[("rest.client.socket-timeout-ms", "500")]);
    let started = Instant::now();
    let all = futures::future::join_all((0..50).map(|_| load(catalog.as_ref()))).await;
    assert!(all.into_iter().all(|told| told.is_err_and(|e| e.message().contains("in time") && e.retryable())));
    assert!(started.elapsed().as_millis() < 1500 && server.count("/v1/config") == 1, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_pause_that_no_clock_can_tell_is_no_pause_that_is_waited_for() {
    let server = RestServer::start(RestOptions::default()).await;
    add(&server, &["db"], "t");
    let (catalog, _) = catalog(&server, &[]);
    for nonsense in ["-1", "soon", "0"] {
        server.fail_next("/tables/t", Fault::Busy(nonsense));
        load(catalog.as_ref()).await.unwrap();
    }
    server.fail_next("/tables/t", Fault::Busy("9223372036854775807"));
    let started = Instant::now();
    load(catalog.as_ref()).await.unwrap();
    assert!((4..8).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

/// As long as a signed token is, and across the place where the server's words are cut.
#[tokio::test]
async fn no_part_of_a_long_token_that_the_server_repeats_reaches_the_message() {
    let token: String = (0..128).map(|i| format!("{:08x}", i * 0x9e37_79b9_u64 % 0xffff_ffff)).collect();
    for before in [0, 150, 290, 299, 400] {
        let server = RestServer::start(RestOptions { static_token: Some(token.clone()), ..RestOptions::default() }).await;
        add(&server, &["db"], "t");
        let (catalog, _) = catalog(&server, &[("token", &token), ("header.x-part", &token[..16])]);
        server.fail_next("/tables/t", Fault::Says(403, format!("{} Bearer {token} may not", "x".repeat(before))));
        let e = load(catalog.as_ref()).await.unwrap_err();
        assert_eq!(e.kind(), ErrorKind::PermissionDenied, "{e:?}");
        let said = format!("{e:?} {e}");
        assert!(!(0..=token.len() - 8).any(|at| said.contains(&token[at..at + 8])), "{before}: {said}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_with_its_cause() {
    let server = RestServer::start(RestOptions::default()).await;
    let (catalog, _) = catalog(&server, &[]);
    drop(server);
    let e = load(catalog.as_ref()).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Unavailable && e.retryable() && e.message().contains("http://127.0.0.1"), "{e:?}");
}

#[tokio::test]
async fn no_token_follows_a_redirect_to_another_server() {
    let thief = RestServer::start(RestOptions::default()).await;
    add(&thief, &["db"], "t");
    let server = RestServer::start(RestOptions { oauth: oauth(60_000), ..RestOptions::default() }).await;
    add(&server, &["db"], "t");
    let (first, _) = catalog(&server, &[("credential", "me:top-secret")]);
    server.fail_next("/tables/t", Fault::RedirectTo(format!("{}/v1/namespaces/db/tables/t", thief.uri())));
    let e = load(first.as_ref()).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Config && e.message().contains(&thief.uri()), "{e:?}");
    server.fail_next("/oauth/tokens", Fault::RedirectTo(format!("{}/v1/oauth/tokens", thief.uri())));
    let (second, _) = catalog(&server, &[("credential", "me:top-secret")]);
    assert_eq!(load(second.as_ref()).await.unwrap_err().kind(), ErrorKind::Config);
    assert!(thief.requests().is_empty(), "{:?}", thief.requests());
    server.fail_next("/tables/t", Fault::RedirectTo("/v1/namespaces/db/tables/t".into()));
    load(first.as_ref()).await.unwrap();
}

#[tokio::test]
async fn headers_for_the_catalog_do_not_go_to_whoever_gives_tokens() {
    let issuer = RestServer::start(RestOptions { oauth: oauth(60_000), ..RestOptions::default() }).await;
    let server = RestServer::start(RestOptions::default()).await;
    add(&server, &["db"], "t");
    let tokens = format!("{}/v1/oauth/tokens", issuer.uri());
    let given =
        [("credential", "me:top-secret"), ("oauth2-server-uri", &tokens), ("header.X-Api-Key", "key-of-it"), ("header.Accept", "x")];
    load(catalog(&server, &given).0.as_ref()).await.unwrap();
    let keys = |server: &RestServer| server.requests().iter().map(|request| request.headers.get("x-api-key").cloned()).collect::<Vec<_>>();
    assert_eq!(keys(&issuer), [None]);
    let asked = server.requests();
    assert!(asked.len() > 1 && keys(&server).iter().all(|key| key.as_deref() == Some("key-of-it")), "{asked:?}");
    assert!(asked.iter().all(|request| request.headers["accept"] == "application/json"), "{asked:?}");
}

#[tokio::test]
async fn the_servers_own_configuration_does_not_move_the_client_elsewhere() {
    let overrides = [("uri".to_owned(), "https://elsewhere.example.com/".to_owned())].into();
    let server = RestServer::start(RestOptions { overrides, ..RestOptions::default() }).await;
    let e = load(catalog(&server, &[]).0.as_ref()).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Config && e.message().contains("elsewhere.example.com"), "{e:?}");
}

#[tokio::test]
async fn a_huge_answer_is_cut_off() {
    let server = RestServer::start(RestOptions::default()).await;
    add(&server, &["db"], "t");
    server.fail_next("/v1/namespaces", Fault::Huge(1 << 30));
    let e = catalog(&server, &[]).0.list(None).await.unwrap_err();
    assert!(e.kind() == ErrorKind::LimitExceeded && e.message().contains("/v1/namespaces"), "{e:?}");
}

#[tokio::test]
async fn metadata_in_the_answer_is_judged_like_any_other() {
    let server = RestServer::start(RestOptions::default()).await;
    let mut broken = metadata("s3://b/t");
    broken["current-schema-id"] = 9.into();
    server.add_table(&["db"], "t", "s3://b/t/metadata/1.metadata.json", broken);
    let (catalog, _) = catalog(&server, &[]);
    let e = load(catalog.as_ref()).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Corrupt && e.message().contains("db.t"), "{e:?}");
    let mut new = metadata("s3://b/t");
    new["format-version"] = 4.into();
    server.add_table(&["db"], "t", "s3://b/t/metadata/1.metadata.json", new);
    assert_eq!(load(catalog.as_ref()).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_namespace_that_may_not_be_looked_into_does_not_hide_the_others() {
    let server = RestServer::start(RestOptions::default()).await;
    add(&server, &["db"], "t");
    add(&server, &["secret"], "t");
    server.fail_next("/namespaces/secret/tables", Fault::Status(403, "{}"));
    let (catalog, _) = catalog(&server, &[]);
    assert_eq!(catalog.list(None).await.unwrap(), [TableName::new(["db"], "t")]);
    server.fail_next("/namespaces/secret/tables", Fault::Status(403, "{}"));
    assert_eq!(catalog.list(Some(&["secret".into()])).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
}
