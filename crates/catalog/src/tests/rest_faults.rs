//! REST catalogs that answer as they should not: proxies, outages, lies.

use super::metadata;
use super::rest::{add, catalog, oauth};
use fastdata_testkit::rest::{Fault, RestOptions, RestServer};
use fastdata_types::{Catalog, Error, ErrorKind, TableName};
use std::time::Instant;

async fn load(catalog: &dyn Catalog) -> Result<(), Error> {
    catalog.load(&TableName::new(["db"], "t")).await.map(drop)
}

async fn failure_of(fault: Fault) -> Error {
    let server = RestServer::start(RestOptions::default()).await;
    add(&server, &["db"], "t");
    for _ in 0..3 {
        server.fail_next("/tables/t", fault.clone());
    }
    let (catalog, _) = catalog(&server, &[("rest.client.socket-timeout-ms", "400")]);
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

#[tokio::test]
async fn a_passing_fault_is_repeated_and_a_hang_ends_in_time_without_being_repeated() {
    let server = RestServer::start(RestOptions::default()).await;
    add(&server, &["db"], "t");
    let (catalog, _) = catalog(&server, &[("rest.client.socket-timeout-ms", "400")]);
    server.fail_next("/tables/t", Fault::Status(503, ""));
    load(catalog.as_ref()).await.unwrap();
    assert_eq!(server.count("/tables/t"), 2);
    server.fail_next("/tables/t", Fault::Hang);
    let started = Instant::now();
    let e = load(catalog.as_ref()).await.unwrap_err();
    assert!(e.kind() == ErrorKind::Unavailable && e.retryable() && e.message().contains("in time"), "{e:?}");
    assert!(started.elapsed().as_millis() < 1500 && server.count("/tables/t") == 3, "{:?}", started.elapsed());
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
