//! The wrappers pass on what they should and nothing else.

use super::*;
use crate::files::LocalFiles;
use fastdata_types::Store;
use fastdata_types::store::{StoreFactory, StoreScope};
use std::sync::Arc;

fn one_file() -> (tempfile::TempDir, String, Arc<dyn Store>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    std::fs::write(&path, b"0123456789").unwrap();
    let root = format!("file://{}", folder.path().display());
    let store = LocalFiles::new().open(StoreScope { allowed: vec![root], ..StoreScope::default() }).unwrap();
    (folder, format!("file://{}", path.display()), store)
}

#[tokio::test]
async fn the_record_is_what_was_asked_for_in_order() {
    let (_folder, location, store) = one_file();
    let store = RecordingStore::new(store);
    store.read_tail(&location, 4).await.unwrap();
    assert_eq!(store.read_ranges(&location, &[0..2, 5..9]).await.unwrap()[1], "5678");
    store.size(&location).await.unwrap();
    let l = || location.clone();
    assert_eq!(store.take(), [Access::Tail(l(), 4), Access::Range(l(), 0..2), Access::Range(l(), 5..9), Access::Size(l())]);
    assert!(store.take().is_empty());
}

#[tokio::test]
async fn the_same_seed_makes_the_same_trouble_in_the_chosen_places_only() {
    let (_folder, location, store) = one_file();
    let run = async |seed: u64, only: &str| {
        let faults = Faults { seed, errors: 0.3, short_reads: 0.3, only: only.to_owned(), after: 2, ..Faults::default() };
        let faulty = FaultStore::new(store.clone(), faults);
        let mut outcomes = Vec::new();
        for _ in 0..40 {
            outcomes.push(faulty.read_all(&location, 100).await.map(|bytes| bytes.len()).map_err(|e| e.kind()));
        }
        (outcomes, faulty.made())
    };
    let (first, made) = run(1, "").await;
    assert_eq!((first.clone(), made), run(1, "").await);
    assert_ne!(first, run(2, "").await.0);
    assert!(made > 5 && first.contains(&Ok(5)) && first[..2] == [Ok(10), Ok(10)]);
    assert_eq!(run(1, "elsewhere").await.1, 0);
}
