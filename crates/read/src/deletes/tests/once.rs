//! Each delete file is read once per scan, whoever asks how often.

use super::position::rows;
use super::*;
use arrow::array::Int64Array;
use fastdata_types::PrimitiveType;
use std::sync::atomic::Ordering;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn each_delete_file_is_read_once_however_many_data_files_and_callers_there_are() {
    let mut b = Builder::new(vec![Field::optional(1, "id", PrimitiveType::Long)]);
    let names: Vec<String> = (0..200).map(|i| format!("mem://data-{i}")).collect();
    let listed: Vec<(Option<&str>, i64)> = names.iter().enumerate().map(|(at, name)| (Some(name.as_str()), at as i64)).collect();
    let p = b.positions("mem://p", &[rows(&listed)]);
    let key: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let e = b.equality("mem://e", &[1], 5, &batch(vec![("id", 1, key.clone())]));
    let e2 = b.equality("mem://e2", &[1], 6, &batch(vec![("id", 1, key)]));
    let (bytes, offset, size) = super::vector::puffin(&[3]);
    let kind = DeleteKind::Vector { referenced_data_file: "mem://v".into(), content_offset: offset, content_size: size };
    let v = b.delete("mem://v.puffin", bytes, kind, 4, 1);
    for name in &names {
        b.data(name, 1, lists(&[p], &[e, e2], None));
    }
    let with_vector = b.data("mem://v", 1, lists(&[p], &[e], Some(v)));
    let scan = Arc::new(b.build());
    let kept: Arc<Mutex<Vec<Arc<AppliedDeletes>>>> = Arc::default();
    let callers = (0..=with_vector).chain(0..=with_vector).map(|file| {
        let (scan, kept) = (Arc::clone(&scan), Arc::clone(&kept));
        tokio::spawn(async move {
            let applied = scan.file(file).await;
            let expected = if file == with_vector { 3 } else { file as usize };
            assert_eq!(bits(applied.deleted_positions(0..1000)), [expected]);
            kept.lock().unwrap().push(applied);
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    for path in ["mem://p", "mem://e", "mem://e2", "mem://v.puffin"] {
        assert_eq!(scan.world.requests(path), 1, "{path}");
    }
    assert_eq!(scan.context.stats.delete_files_read.load(Ordering::Relaxed), 4);
    assert!(scan.context.budget.available() < scan.context.budget.total(), "the sets hold memory while the scan lives");
    let budget = scan.context.budget.clone();
    drop((scan, kept));
    assert_eq!(budget.available(), budget.total());
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_the_load_to_the_next() {
    let mut b = Builder::new(vec![Field::optional(1, "id", PrimitiveType::Long)]);
    let p = b.positions("mem://p", &[rows(&[(Some("mem://a"), 4)])]);
    let a = b.data("mem://a", 1, lists(&[p], &[], None));
    let scan = b.build();
    let mut first = Box::pin(scan.ask(a));
    assert!(futures::poll!(first.as_mut()).is_pending());
    drop(first);
    assert_eq!(scan.deletes.holdings.held(), 0);
    assert_eq!(bits(scan.file(a).await.deleted_positions(0..9)), [4]);
}

#[tokio::test]
async fn a_data_file_that_is_opened_again_finds_its_deletes_in_memory_where_they_take_little() {
    let mut b = Builder::new(vec![Field::optional(1, "id", PrimitiveType::Long)]);
    b.rounds = 3;
    let (bytes, offset, size) = super::vector::puffin(&[3]);
    let files = ["mem://a", "mem://b"].map(|path| {
        let kind = DeleteKind::Vector { referenced_data_file: path.into(), content_offset: offset, content_size: size };
        let v = b.delete(&format!("{path}.puffin"), bytes.clone(), kind, 4, 1);
        b.data(path, 1, lists(&[], &[], Some(v)))
    });
    let scan = b.build();
    for (opening, file) in (0..).zip(files.repeat(3)) {
        let applied = scan.deletes.for_file(file, scan.deletes.opening(opening)).await.unwrap();
        assert_eq!(bits(applied.deleted_positions(0..9)), [3]);
    }
    assert_eq!((scan.world.requests("mem://a.puffin"), scan.world.requests("mem://b.puffin")), (1, 1));
    assert_eq!(scan.deletes.holdings.held(), 0, "nobody is to come");
}

/// Ten vectors of 100 KiB each within a budget that holds three: files are read one after the other, as a scan does.
#[tokio::test]
async fn deletes_of_files_that_are_read_make_room_for_those_of_later_files() {
    let mut b = Builder::new(vec![Field::optional(1, "id", PrimitiveType::Long)]);
    b.budget = 2 << 20;
    let positions: Vec<u64> = (0..50_000).map(|i| i * 3).collect();
    let (bytes, offset, size) = super::vector::puffin(&positions);
    let files: Vec<u32> = (0..10)
        .map(|at| {
            let kind = DeleteKind::Vector { referenced_data_file: format!("mem://{at}"), content_offset: offset, content_size: size };
            let v = b.delete(&format!("mem://v{at}"), bytes.clone(), kind, 4, positions.len() as u64);
            b.data(&format!("mem://{at}"), 1, lists(&[], &[], Some(v)))
        })
        .collect();
    let scan = b.build();
    for file in files {
        let applied = scan.file(file).await;
        assert_eq!(applied.deleted_positions(0..10).unwrap().count_set_bits(), 4);
    }
    assert_eq!(scan.deletes.holdings.held(), 0);
    for at in 0..10 {
        assert_eq!(scan.world.requests(&format!("mem://v{at}")), 1);
    }
}

#[tokio::test]
async fn a_set_is_kept_until_the_last_data_file_that_refers_to_it_was_read() {
    let mut b = Builder::new(vec![Field::optional(1, "id", PrimitiveType::Long)]);
    let p = b.positions("mem://p", &[rows(&[(Some("mem://a"), 4), (Some("mem://b"), 5)])]);
    let (a, other) = (b.data("mem://a", 1, lists(&[p], &[], None)), b.data("mem://b", 1, lists(&[p], &[], None)));
    let scan = b.build();
    drop(scan.file(a).await);
    drop(scan.file(a).await);
    assert!(scan.deletes.holdings.held() > 0, "the other data file has not asked yet");
    let last = scan.file(other).await;
    assert_eq!(scan.world.requests("mem://p"), 1);
    drop(last);
    assert_eq!(scan.deletes.holdings.held(), 0);
    assert_eq!(bits(scan.file(a).await.deleted_positions(0..9)), [4], "asking again reads again");
}
