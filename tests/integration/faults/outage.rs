//! A store that dies and comes back while it is read.

use super::{Bay, Rows, Store, latency, many_files, open, read};
use crate::support::soak;
use fastdata_testkit::services::minio::Minio;
use fastdata_types::ErrorKind;
use futures::StreamExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Half of the scans reach the store through the proxy, which resets their connections meanwhile; of the others it refuses them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_gone_for_a_while_costs_that_while_and_no_scan() {
    let Some(bay) = Bay::open(Minio::start().map(Store::Own), many_files(110), latency(30)).await else { return };
    let truth = bay.truth().await;
    let (outages, mut retries, mut longest) = (if soak() { 50 } else { 2 }, 0, Duration::ZERO);
    for outage in 0..outages {
        // 5 to 30 s, every length once in 26.
        let gone = Duration::from_secs(5 + if soak() { outage * 7 % 26 } else { 0 });
        let endpoint = if outage % 2 == 0 { bay.proxy.endpoint() } else { bay.store.endpoint().to_owned() };
        let engine = bay.engine(&endpoint, &[]);
        let mut stream = open(&engine, r#", "batchRows": 10, "order": "stable""#).await.unwrap();
        let stats = Arc::clone(&stream.stats);
        let mut rows = Rows::default();
        rows.add(&stream.next().await.unwrap().unwrap());
        bay.store.kill();
        let began = Instant::now();
        let reading = async {
            while let Some(batch) = stream.next().await {
                rows.add(&batch.unwrap_or_else(|error| panic!("outage {outage} of {gone:?}, after {:?}: {error}", began.elapsed())));
            }
            began.elapsed()
        };
        let coming_back = async {
            tokio::time::sleep(gone).await;
            tokio::task::block_in_place(|| bay.store.restart());
        };
        let (took, ()) = tokio::join!(reading, coming_back);
        drop(stream);
        assert_eq!(rows, truth, "outage {outage} of {gone:?}");
        assert!(took >= gone, "the scan did not need the store any more: {took:?}");
        let counted = stats.snapshot().retries;
        assert!(counted > 0, "outage {outage}: no retry was counted");
        retries += counted;
        longest = longest.max(took - gone);
    }
    eprintln!("{outages} outages of 5 s and more: all scans complete, {retries} retries, at most {longest:?} after the store was back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_never_there_is_reported_soon_and_one_that_stays_away_within_its_patience() {
    let Some(bay) = Bay::open(Minio::start().map(Store::Own), many_files(110), latency(0)).await else { return };
    let engine = bay.engine(bay.store.endpoint(), &[("fastdata.s3.retry-timeout", "3")]);
    read(&engine, "").await.unwrap();
    bay.store.kill();
    let began = Instant::now();
    let error = read(&engine, "").await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::Unavailable, true), "{error}");
    assert!(error.message().contains(bay.store.endpoint()) && error.message().contains("Connection refused"), "{error}");
    // The first of its requests gives up after the patience; pauses and the last attempt come on top.
    assert!((Duration::from_millis(500)..Duration::from_secs(10)).contains(&began.elapsed()), "{:?}", began.elapsed());
    // Another process, that has not seen the store alive.
    bay.configure(bay.store.endpoint(), &[], "16MiB");
    let began = Instant::now();
    let mut command = crate::support::fastdata(bay.folder.path());
    command.args(["count", "test.t", "--where", "id > 5"]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(said.contains("Connection refused") && said.contains("s3.endpoint"), "{said}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
