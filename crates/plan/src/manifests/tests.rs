use super::*;
use crate::testing::{EntrySpec, TestTable, container, entry, manifest_schema};
use fastdata_types::Store;

/// What was fetched lives until a thread of the pool has decoded it.
#[tokio::test]
async fn one_large_manifest_at_a_time_waits_to_be_decoded() {
    let mut block = Vec::new();
    entry(&mut block, &EntrySpec::data("f"));
    let padding = "x".repeat(ORDINARY_BYTES as usize);
    let large = Bytes::from(container(&manifest_schema(&[]), "null", &[("partition-spec-id", "0"), ("padding", &padding)], &[(1, block)]));

    let mut table = TestTable::unpartitioned();
    let mut store = std::mem::take(&mut table.store);
    store.objects.extend((0..3).map(|at| (format!("m{at}"), large.clone())));
    let store = Arc::new(store);
    let mut state = Arc::into_inner(table.state()).unwrap();
    state.store = Arc::clone(&store) as Arc<dyn Store>;

    let pool = Arc::new(rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap());
    let (release, busy) = std::sync::mpsc::channel::<()>();
    pool.spawn(move || {
        let _ = busy.recv();
    });
    let reading = Arc::new(Reading::new(Arc::new(state), pool, None));
    let listed = (0..3).map(|at| Listed { manifest: ManifestFile::inline(&format!("m{at}")), added_by: None }).collect();
    let mut manifests = std::pin::pin!(reading.data(listed));
    assert!(futures::poll!(manifests.as_mut()).is_pending());
    // Each was thought to be ordinary first.
    let opened = || store.opened.lock().unwrap().len();
    assert_eq!(opened(), 3 + 1);
    drop(release);
    assert_eq!(manifests.await.unwrap().iter().map(|manifest| manifest.files.len()).sum::<usize>(), 3);
    assert_eq!(opened(), 3 + 3);
}
