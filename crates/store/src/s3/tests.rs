//! Against a small S3 server that logs every request and fails on demand.

mod lending;
mod limits;

use crate::Stores;
use fastdata_testkit::s3::{Fault, S3Server};
use fastdata_testkit::services::minio::Minio;
use fastdata_types::error::ErrorKind;
use fastdata_types::store::{Store, StoreFactory, StoreScope};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

fn scope(server: &S3Server) -> StoreScope {
    let mut properties = server.properties();
    properties.insert("s3.request-timeout".into(), "2".into());
    properties.insert("fastdata.s3.retry-timeout".into(), "5".into());
    StoreScope { allowed: vec!["s3://wh".into()], properties, ..StoreScope::default() }
}

fn open(scope: StoreScope) -> Arc<dyn Store> {
    Stores::with_environment(BTreeMap::new()).open(scope).unwrap()
}

fn content(length: usize) -> Vec<u8> {
    (0..length as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn lines(server: &S3Server) -> Vec<String> {
    let mut lines: Vec<String> = server.take_log().iter().map(|request| request.line()).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn keys_go_over_the_wire_byte_for_byte() {
    let server = S3Server::start().await;
    let store = open(scope(&server));
    let keys = [
        "t/a//b",
        "/lead",
        "t/a b+c",
        "t/c=1%2F2/x%20y",
        "t/q?a=b&c#d",
        "t/\u{e9}\u{1F600}",
        "t/'(x)*!;:@$,~",
        "t/back\\slash",
        "t/trail/",
    ];
    for key in keys {
        server.put("wh", key, format!("bytes of {key}"));
    }
    for key in keys {
        for location in [format!("s3://wh/{key}"), format!("s3a://wh/{key}")] {
            assert_eq!(store.read_all(&location, 1000).await.unwrap(), format!("bytes of {key}"), "{location}");
            assert_eq!(store.size(&location).await.unwrap(), format!("bytes of {key}").len() as u64);
        }
    }
    let paths: Vec<String> = server.take_log().into_iter().map(|request| request.path).collect();
    assert!(paths.contains(&"/wh/t/a//b".to_string()) && paths.contains(&"/wh//lead".to_string()), "{paths:?}");
    assert!(paths.contains(&"/wh/t/c%3D1%252F2/x%2520y".to_string()), "{paths:?}");
    assert_eq!(store.size("s3://wh/t/a/b").await.unwrap_err().kind(), ErrorKind::MissingFile);
}

#[tokio::test]
async fn near_ranges_are_one_request_and_far_ones_several() {
    let server = S3Server::start().await;
    let object = content(6 * MIB);
    server.put("wh", "f", object.clone());
    let store = open(scope(&server));
    let ranges = [100..200u64, 5_000_000..5_000_010, 0..10, 300_000..300_005, 150..170];
    let read = store.read_ranges("s3://wh/f", &ranges).await.unwrap();
    for (bytes, range) in read.iter().zip(&ranges) {
        assert!(bytes[..] == object[range.start as usize..range.end as usize], "{range:?}");
    }
    assert_eq!(lines(&server), ["GET /wh/f bytes=0-300004", "GET /wh/f bytes=5000000-5000009"]);
    assert_eq!(store.counters().requests, 2);
}

#[tokio::test]
async fn a_large_range_is_cut_into_parallel_requests_and_joined() {
    let server = S3Server::start().await;
    let object = content(40 * MIB);
    server.put("wh", "f", object.clone());
    let store = open(scope(&server));
    let read = store.read_ranges("s3://wh/f", &[1..40 * MIB as u64, 3..9]).await.unwrap();
    assert!(read[0] == object[1..] && read[1] == object[3..9]);
    let step = (40 * MIB - 1).div_ceil(3);
    let mut expected: Vec<String> =
        (0..3).map(|i| format!("GET /wh/f bytes={}-{}", 1 + i * step, (1 + (i + 1) * step).min(40 * MIB) - 1)).collect();
    expected.sort();
    assert_eq!(lines(&server), expected);
}

#[tokio::test]
async fn a_whole_object_and_its_tail_take_one_request_where_they_are_small() {
    let server = S3Server::start().await;
    let object = content(20 * MIB);
    server.put("wh", "small", object[..1000].to_vec());
    server.put("wh", "large", object.clone());
    server.put("wh", "empty", Vec::new());
    let store = open(scope(&server));
    assert!(store.read_all("s3://wh/small", 1 << 30).await.unwrap() == object[..1000]);
    assert_eq!(lines(&server), ["GET /wh/small bytes=0-8388607"]);
    assert!(store.read_all("s3://wh/large", 1 << 30).await.unwrap() == object);
    assert_eq!(lines(&server), ["GET /wh/large bytes=0-8388607", "GET /wh/large bytes=8388608-20971519"]);
    let (tail, size) = store.read_tail("s3://wh/large", 10).await.unwrap();
    assert!(tail == object[object.len() - 10..] && size == object.len() as u64);
    assert_eq!(lines(&server), ["GET /wh/large bytes=-10"]);
    assert_eq!(store.read_tail("s3://wh/small", 5000).await.unwrap().0.len(), 1000);
    assert_eq!(store.read_tail("s3://wh/empty", 5).await.unwrap(), (Default::default(), 0));
    assert!(store.read_all("s3://wh/empty", 5).await.unwrap().is_empty());
    assert_eq!(store.read_all("s3://wh/small", 999).await.unwrap_err().kind(), ErrorKind::LimitExceeded);
}

/// Each is two requests, the second for the size that the first does not say, and there are far more of them than requests at once.
#[tokio::test]
async fn many_empty_objects_are_read_at_once_where_a_refused_range_says_no_size() {
    let server = S3Server::start().await;
    server.answer_as_minio();
    server.put("wh", "empty", Vec::new());
    let store = open(scope(&server));
    const READS: usize = 300;
    server.fail(vec![Fault::Hang(Duration::from_millis(300)); READS]);
    let reads: Vec<_> = (0..READS)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.read_all("s3://wh/empty", 5).await.unwrap().len() })
        })
        .collect();
    for read in reads {
        let length = tokio::time::timeout(Duration::from_secs(20), read).await.expect("no read waits for another's end");
        assert_eq!(length.unwrap(), 0);
    }
    assert_eq!(store.read_tail("s3://wh/empty", 5).await.unwrap(), (Default::default(), 0));
}

/// What the small server is made to do is what the real one does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn minio_has_empty_objects() {
    let Some(minio) = tokio::task::spawn_blocking(Minio::shared).await.unwrap() else { return };
    tokio::task::spawn_blocking(|| minio.put("empties", "none", "")).await.unwrap();
    let store = open(StoreScope { allowed: vec!["s3://empties".into()], properties: minio.properties(), ..StoreScope::default() });
    assert!(store.read_all("s3://empties/none", 5).await.unwrap().is_empty());
    for length in [0, 5, 64 << 20] {
        assert_eq!(store.read_tail("s3://empties/none", length).await.unwrap(), (Default::default(), 0), "{length}");
    }
    assert_eq!(store.size("s3://empties/none").await.unwrap(), 0);
}

#[tokio::test]
async fn a_range_beyond_the_object_is_an_error_and_never_a_short_read() {
    let server = S3Server::start().await;
    server.put("wh", "f", content(1000));
    for range in [0..1001, 1000..1001, 5000..6000, 0..1 << 62, (1 << 62)..(1 << 62) + 5] {
        let store = open(scope(&server));
        for _ in 0..2 {
            let error = store.read_ranges("s3://wh/f", std::slice::from_ref(&range)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{range:?}: {error}");
            assert!(error.message().contains("s3://wh/f"));
        }
    }
}

#[tokio::test]
async fn passing_faults_are_retried_and_counted() {
    let server = S3Server::start().await;
    let object = content(100_000);
    server.put("wh", "f", object.clone());
    let store = open(scope(&server));
    server.fail([Fault::Unavailable, Fault::RetryAfter(503, 0), Fault::Status(500, "InternalError")]);
    assert!(store.read_ranges("s3://wh/f", std::slice::from_ref(&(0..100_000))).await.unwrap()[0] == object);
    assert_eq!((store.counters().retries, store.counters().requests, store.counters().bytes), (3, 4, 100_000));
}

#[tokio::test]
async fn what_cannot_pass_is_not_asked_again() {
    let server = S3Server::start().await;
    server.put("wh", "f", content(10));
    let store = open(scope(&server));
    server.fail([502, 503, 504, 429, 408].map(|status| Fault::Status(status, "Any")));
    assert_eq!(store.read_all("s3://wh/f", 10).await.unwrap().len(), 10);
    assert_eq!(lines(&server).len(), 6);
    for status in [501, 505, 400, 405] {
        server.fail([Fault::Status(status, "NotImplemented")]);
        let error = store.read_all("s3://wh/f", 10).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Unavailable && !error.retryable() && error.advice_text().is_some(), "{status}: {error}");
        assert_eq!(lines(&server).len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_taken_up_where_it_broke() {
    let server = S3Server::start().await;
    let object = content(3 * MIB);
    server.put("wh", "f", object.clone());
    let store = open(scope(&server));
    let whole = 0..3 * MIB as u64;
    server.fail([Fault::Truncate(1000), Fault::Truncate(500)]);
    assert!(store.read_ranges("s3://wh/f", std::slice::from_ref(&whole)).await.unwrap()[0] == object);
    assert_eq!(lines(&server), ["GET /wh/f bytes=0-3145727", "GET /wh/f bytes=1000-3145727", "GET /wh/f bytes=1500-3145727"]);
    assert_eq!((store.counters().requests, store.counters().retries), (3, 2));
    server.fail([Fault::Truncate(7)]);
    assert!(store.read_all("s3://wh/f", 1 << 30).await.unwrap() == object);
    assert_eq!(lines(&server), ["GET /wh/f bytes=0-8388607", "GET /wh/f bytes=7-3145727"]);
    assert_eq!((store.counters().requests, store.counters().retries), (5, 3));
    server.fail([Fault::Truncate(7)]);
    assert!(store.read_tail("s3://wh/f", 100).await.unwrap().0 == object[object.len() - 100..]);
    assert_eq!(lines(&server), ["GET /wh/f bytes=-100", "GET /wh/f bytes=3145635-3145727"]);
    assert_eq!((store.counters().requests, store.counters().retries), (7, 4));
}

#[tokio::test]
async fn a_silent_store_is_asked_again() {
    let server = S3Server::start().await;
    server.put("wh", "f", content(10));
    let mut scope = scope(&server);
    scope.properties.insert("s3.request-timeout".into(), "0.2".into());
    let store = open(scope);
    server.fail([Fault::Hang(Duration::from_secs(30))]);
    assert_eq!(store.read_all("s3://wh/f", 100).await.unwrap().len(), 10);
    assert_eq!(store.counters().retries, 1);
}

#[tokio::test]
async fn a_store_that_stays_broken_is_given_up_within_the_deadline() {
    let server = S3Server::start().await;
    server.put("wh", "f", content(10));
    let mut scope = scope(&server);
    scope.properties.insert("fastdata.s3.retry-timeout".into(), "0.5".into());
    let store = open(scope);
    server.fail(vec![Fault::Unavailable; 100]);
    let started = Instant::now();
    let error = store.read_all("s3://wh/f", 100).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.retryable() && error.message().contains(server.endpoint()) && error.message().contains("503 SlowDown"), "{error}");
}

#[tokio::test]
async fn an_unreachable_endpoint_is_named_with_its_cause() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = S3Server::start().await;
    let mut scope = scope(&server);
    scope.properties.insert("s3.endpoint".into(), format!("http://{unused}"));
    let started = Instant::now();
    let error = open(scope).read_all("s3://wh/f", 100).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(2));
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true));
    assert!(error.message().contains(&unused.to_string()) && error.message().contains("refused"), "{error}");
}

#[tokio::test]
async fn an_object_replaced_during_a_scan_is_an_error() {
    let server = S3Server::start().await;
    server.put("wh", "f", content(1000));
    let store = open(scope(&server));
    assert_eq!(store.read_tail("s3://wh/f", 8).await.unwrap().1, 1000);
    server.put("wh", "f", content(1000));
    let error = store.read_ranges("s3://wh/f", std::slice::from_ref(&(0..10))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("replaced"), "{error}");
    assert!(store.read_all("s3://wh/f", 1000).await.is_ok(), "a version hint may change between two reads");
}

#[tokio::test]
async fn an_object_replaced_between_two_pieces_of_one_read_is_an_error() {
    let server = S3Server::start().await;
    server.put("wh", "f", content(1000));
    let mut slow = scope(&server);
    slow.properties.insert("s3.request-timeout".into(), "0.3".into());
    let store = open(slow);
    server.fail([Fault::Truncate(10), Fault::Hang(Duration::from_secs(5))]);
    let replacing = async {
        while server.log_length() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.put("wh", "f", content(1000));
    };
    let (read, ()) = tokio::join!(store.read_all("s3://wh/f", 1000), replacing);
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn missing_objects_and_buckets_are_missing_files() {
    let server = S3Server::start().await;
    let store = open(scope(&server));
    for error in [
        store.size("s3://wh/none").await.unwrap_err(),
        store.read_all("s3://wh/none", 1).await.unwrap_err(),
        store.read_tail("s3://wh/none", 1).await.unwrap_err(),
        store.read_ranges("s3://wh/none", std::slice::from_ref(&(0..1))).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::MissingFile);
        assert!(error.message().contains("s3://wh/none"), "{error}");
    }
    server.fail([Fault::Status(404, "NoSuchBucket")]);
    assert!(store.read_all("s3://wh/f", 1).await.unwrap_err().message().contains("bucket 'wh'"));
}

#[tokio::test]
async fn refusals_say_whether_credentials_or_rights_are_wanting() {
    let server = S3Server::start().await;
    server.put("wh", "f", content(10));
    let store = open(scope(&server));
    server.fail([Fault::Denied]);
    assert_eq!(store.read_all("s3://wh/f", 10).await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    server.fail([Fault::ExpiredToken]);
    assert_eq!(store.read_all("s3://wh/f", 10).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    server.fail([Fault::Status(301, "PermanentRedirect")]);
    assert_eq!(store.read_all("s3://wh/f", 10).await.unwrap_err().kind(), ErrorKind::Config);
    server.accept_only(["somebody"]);
    let error = store.read_all("s3://wh/f", 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.message().contains("InvalidAccessKeyId") && !format!("{error:?}").contains("secret "), "{error}");
    assert_eq!(store.counters().retries, 0);
}

#[tokio::test]
async fn without_credentials_nothing_is_asked_unless_anonymous() {
    let server = S3Server::start().await;
    server.put("wh", "f", content(10));
    let mut scope = scope(&server);
    scope.properties.retain(|name, _| !name.contains("access-key"));
    let error = open(scope.clone()).read_all("s3://wh/f", 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.advice_text().unwrap().contains("s3.anonymous"));
    assert!(server.take_log().is_empty());
    scope.properties.insert("s3.anonymous".into(), "true".into());
    assert_eq!(open(scope).read_all("s3://wh/f", 10).await.unwrap().len(), 10);
    assert_eq!(server.take_log()[0].signed.access_key_id, None);
}

#[tokio::test]
async fn other_buckets_are_never_asked_for() {
    let server = S3Server::start().await;
    server.put("other", "f", content(10));
    let store = open(scope(&server));
    for location in ["s3://other/f", "s3://wh@other/f", "s3://wh/../other/f", "http://127.0.0.1:9/f"] {
        assert_eq!(store.read_all(location, 10).await.unwrap_err().kind(), ErrorKind::LocationNotAllowed, "{location}");
        assert_eq!(store.size(location).await.unwrap_err().kind(), ErrorKind::LocationNotAllowed, "{location}");
    }
    assert!(server.take_log().is_empty());
}

#[tokio::test]
async fn a_directory_is_listed_over_several_pages() {
    let server = S3Server::start().await;
    let names = ["a b+c", "d&<e>", "f%20g", "h", "i"];
    for name in names {
        server.put("wh", &format!("t/metadata/{name}"), "x");
    }
    server.put("wh", "t/metadata/sub/deep", "x");
    server.put("wh", "t/metadata-evil/no", "x");
    server.page_size(2);
    let store = open(scope(&server));
    for directory in ["s3://wh/t/metadata", "s3a://wh/t/metadata/"] {
        let mut listed = store.list(directory).await.unwrap();
        listed.sort();
        assert_eq!(listed, ["a b+c", "d&<e>", "f%20g", "h", "i", "sub"]);
    }
    assert!(store.list("s3://wh/none").await.unwrap().is_empty());
    assert_eq!(store.list("s3://wh").await.unwrap(), ["t"]);
}

#[tokio::test]
async fn a_read_that_nobody_waits_for_stops_asking() {
    let server = S3Server::start().await;
    server.put("wh", "f", content(48 * MIB));
    let mut patient = scope(&server);
    patient.properties.insert("s3.request-timeout".into(), "30".into());
    let store = open(patient);
    server.fail(vec![Fault::Hang(Duration::from_millis(400)); 3]);
    let whole = 0..48 * MIB as u64;
    let read = store.read_ranges("s3://wh/f", std::slice::from_ref(&whole));
    assert!(tokio::time::timeout(Duration::from_millis(100), read).await.is_err());
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!((store.counters().bytes, server.take_log().len()), (0, 3));
}

#[tokio::test]
async fn secrets_are_never_printed() {
    let server = S3Server::start().await;
    let stores = Stores::with_environment([("AWS_SECRET_ACCESS_KEY".to_string(), "hush".to_string())].into());
    let mut scope = scope(&server);
    scope.properties.insert("s3.secret-access-key".into(), "hush".into());
    let store = stores.open(scope).unwrap();
    assert!(!format!("{stores:?} {store:?}").contains("hush"));
}
