//! Data files that are deleted or replaced while a scan reads the table.

use super::{Bay, Rows, latency, many_row_groups, open, read};
use crate::served::text_of;
use fastdata_testkit::proxy::{Fault, Logged};
use fastdata_types::{BatchStream, Error, ErrorKind};
use futures::StreamExt;
use std::time::Duration;

/// Every row, up to an error.
async fn rows_of(mut stream: BatchStream) -> (Vec<String>, Option<Error>) {
    let mut rows = vec![];
    while let Some(batch) = stream.next().await {
        match batch {
            Ok(batch) => rows.extend(text_of(&batch)),
            Err(error) => return (rows, Some(error)),
        }
    }
    (rows, None)
}

const STABLE: &str = r#", "order": "stable""#;

/// Holds a request for the last data file up, does something to the file, and gives how the scan ends: its rows before an error.
async fn disturb(bay: &Bay, request: usize, hedging: bool, change: impl Fn(&str)) -> (Vec<String>, Option<Error>) {
    let engine = bay.engine(&bay.proxy.endpoint(), &[("fastdata.s3.hedging", if hedging { "true" } else { "false" })]);
    let key = bay.key(&bay.built.table.data_files().last().unwrap().path);
    bay.proxy.take_log();
    let mut faults = vec![Fault::Hang(Duration::ZERO); request - 1];
    // The request that is made beside a late one waits as long.
    faults.extend([Fault::Hang(Duration::from_secs(3)), Fault::Hang(Duration::from_secs(3))]);
    bay.proxy.fail(&key, faults);
    let scan = async { rows_of(open(&engine, STABLE).await.unwrap()).await };
    let changing = async {
        let mut seen: Vec<Logged> = vec![];
        while seen.iter().filter(|logged| logged.path.contains(&key)).count() < request {
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
    let truth: Rows = bay.truth().await;
    let (in_order, _) = rows_of(open(&bay.engine(bay.store.endpoint(), &[]), STABLE).await.unwrap()).await;
    assert_eq!(in_order.len() as u64, truth.rows);
    let key = bay.key(&bay.built.table.data_files().last().unwrap().path);
    let path = bay.built.table_folder().join(key.strip_prefix("test/t/").unwrap());
    let (whole, other) = (std::fs::read(&path).unwrap(), bay.built.table.data_files()[0].path.clone());
    let other = std::fs::read(bay.built.table_folder().join(bay.key(&other).strip_prefix("test/t/").unwrap())).unwrap();
    // The same bytes again with one bit of a page changed: of the same size, with the same footer.
    let mut altered = whole.clone();
    altered[1_000] ^= 1;
    const REPLACED: &str = "was replaced while it was being read";
    for (what, bytes, request, hedging, kind, says) in [
        ("deleted", None, 2, false, ErrorKind::MissingFile, "there is no such file"),
        ("replaced by another file", Some(&other), 2, false, ErrorKind::Corrupt, REPLACED),
        ("replaced by one of its size", Some(&altered), 2, false, ErrorKind::Corrupt, REPLACED),
        ("replaced while a late request is made again", Some(&altered), 2, true, ErrorKind::Corrupt, REPLACED),
        ("deleted before it is opened", None, 1, false, ErrorKind::MissingFile, "there is no such file"),
    ] {
        let (rows, error) = disturb(&bay, request, hedging, |key| match bytes {
            None => bay.store.remove(&bay.bucket, key),
            Some(bytes) => bay.store.put(&bay.bucket, key, bytes.clone()),
        })
        .await;
        let error = error.unwrap_or_else(|| panic!("{what}: the scan ended well with {} rows", rows.len()));
        assert_eq!((error.kind(), error.retryable()), (kind, false), "{what}: {error}");
        assert!(error.message().contains(&key) && error.message().contains(says), "{what}: {error}");
        assert!(rows.len() < in_order.len() && rows == in_order[..rows.len()], "{what}: {} rows", rows.len());
        bay.store.put(&bay.bucket, &key, whole.clone());
        assert_eq!(read(&bay.engine(&bay.proxy.endpoint(), &[]), "").await.unwrap().0, truth, "{what}: afterwards");
    }
}
