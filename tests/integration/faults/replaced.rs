//! Data files that are deleted or replaced while a scan reads the table.

use super::{Bay, latency, many_row_groups, open, read};
use fastdata_testkit::proxy::{Fault, Logged};
use fastdata_types::{Error, ErrorKind};
use futures::StreamExt;
use std::time::Duration;

/// Holds the second request for the last data file up, does something to the file, and gives how the scan ends: its rows before an error.
async fn disturb(bay: &Bay, change: impl Fn(&str)) -> (u64, Option<Error>) {
    // A late request would get another one beside it.
    let engine = bay.engine(&bay.proxy.endpoint(), &[("fastdata.s3.hedging", "false")]);
    let key = bay.key(&bay.built.table.data_files().last().unwrap().path);
    bay.proxy.take_log();
    bay.proxy.fail(&key, [Fault::Hang(Duration::ZERO), Fault::Hang(Duration::from_secs(3))]);
    let mut stream = open(&engine, r#", "order": "stable""#).await.unwrap();
    let scan = async {
        let mut rows = 0;
        while let Some(batch) = stream.next().await {
            match batch {
                Ok(batch) => rows += batch.num_rows() as u64,
                Err(error) => return (rows, Some(error)),
            }
        }
        (rows, None)
    };
    let changing = async {
        let mut seen: Vec<Logged> = vec![];
        while seen.iter().filter(|logged| logged.path.contains(&key)).count() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            seen.extend(bay.proxy.take_log());
        }
        change(&key);
    };
    let (ended, ()) = tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(scan, changing) }).await.expect("the scan ends");
    bay.proxy.forgive();
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_file_that_is_deleted_or_replaced_during_a_scan_is_an_error_that_says_so() {
    let Some(bay) = Bay::shared(many_row_groups(), latency(1)).await else { return };
    let truth = bay.truth().await;
    let key = bay.key(&bay.built.table.data_files().last().unwrap().path);
    let path = bay.built.table_folder().join(key.strip_prefix("test/t/").unwrap());
    let (whole, other) = (std::fs::read(&path).unwrap(), bay.built.table.data_files()[0].path.clone());
    let other = std::fs::read(bay.built.table_folder().join(bay.key(&other).strip_prefix("test/t/").unwrap())).unwrap();
    // The same bytes again with one bit of a page changed: of the same size, with the same footer.
    let mut altered = whole.clone();
    altered[1_000] ^= 1;
    for (what, bytes, kind, says) in [
        ("deleted", None, ErrorKind::MissingFile, "there is no such file"),
        ("replaced by another file", Some(other), ErrorKind::Corrupt, "was replaced while it was being read"),
        ("replaced by one of its size", Some(altered), ErrorKind::Corrupt, "was replaced while it was being read"),
    ] {
        let (rows, error) = disturb(&bay, |key| match &bytes {
            None => bay.store.remove(&bay.bucket, key),
            Some(bytes) => bay.store.put(&bay.bucket, key, bytes.clone()),
        })
        .await;
        let error = error.unwrap_or_else(|| panic!("{what}: the scan ended well with {rows} rows"));
        assert_eq!((error.kind(), error.retryable()), (kind, false), "{what}: {error}");
        assert!(error.message().contains(&key) && error.message().contains(says), "{what}: {error}");
        assert!(rows < truth.rows, "{what}");
        bay.store.put(&bay.bucket, &key, whole.clone());
        assert_eq!(read(&bay.engine(&bay.proxy.endpoint(), &[]), "").await.unwrap().0, truth, "{what}: afterwards");
    }
}
