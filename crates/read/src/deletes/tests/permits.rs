//! A store that answers few requests at a time.

use super::*;
use arrow::array::StringArray;
use fastdata_types::PrimitiveType;
use parquet::file::properties::EnabledStatistics;

fn names(file: usize, rows: Range<usize>, length: usize) -> RecordBatch {
    let names = rows.map(|row| format!("{file}-{row}-{}", "x".repeat(length)));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(names));
    batch(vec![("name", 2, names)])
}

/// The first file is fetched in two pieces. By the second one, those behind it have asked for more than the store answers at a time.
#[tokio::test]
async fn delete_files_that_are_opened_ahead_keep_no_request_from_the_one_that_is_decoded() {
    let columns = vec![Field::optional(2, "name", PrimitiveType::String)];
    let mut b = Builder::new(columns.clone());
    b.budget = 256 << 20;
    b.world.permits = Some(Semaphore::new(2));
    let plain = WriterProperties::builder().set_dictionary_enabled(false).set_statistics_enabled(EnabledStatistics::None).build();
    let mut contents = vec![parquet_with(&[names(0, 0..5, 1 << 20), names(0, 5..10, 1 << 20)], plain.clone())];
    contents.extend((1..12).map(|file| parquet_with(&[names(file, 0..1, 100 << 10)], plain.clone())));
    let mut deletes = vec![];
    for (at, content) in contents.into_iter().enumerate() {
        deletes.push(b.delete(&format!("mem://e{at}"), content, DeleteKind::Equality { field_ids: vec![2] }, 2, 1));
    }
    let a = b.data("mem://a", 1, lists(&[], &deletes, None));
    let scan = b.build();
    let applied = tokio::time::timeout(Duration::from_secs(30), scan.file(a)).await.expect("no request waits for ever");
    assert_eq!((scan.world.requests("mem://e0"), scan.world.requests("mem://e11")), (3, 2), "the tail, and pieces before it");
    let schema = Schema::new(0, columns).unwrap();
    let some: [(RecordBatch, &[usize]); 3] =
        [(names(0, 9..11, 1 << 20), &[0]), (names(11, 0..2, 100 << 10), &[0]), (names(12, 0..1, 100 << 10), &[])];
    for (rows, deleted) in some {
        assert_eq!(bits(applied.equality_deleted(&rows, &schema).unwrap()), deleted);
    }
}
