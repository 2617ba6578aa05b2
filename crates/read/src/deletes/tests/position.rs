//! Position delete files.

use super::*;
use arrow::array::{Int32Array, Int64Array, StringArray, UInt8Array};
use proptest::prelude::*;
use std::collections::BTreeSet;

const PATH: i32 = 2147483546;
const POS: i32 = 2147483545;

pub(super) fn rows(rows: &[(Option<&str>, i64)]) -> RecordBatch {
    let paths: StringArray = rows.iter().map(|r| r.0).collect();
    let positions: Int64Array = rows.iter().map(|r| Some(r.1)).collect();
    batch(vec![("file_path", PATH, Arc::new(paths) as _), ("pos", POS, Arc::new(positions) as _)])
}

fn table() -> Builder {
    Builder::new(vec![Field::optional(1, "id", fastdata_types::PrimitiveType::Long)])
}

#[tokio::test]
async fn one_file_names_many_data_files_in_any_order_with_null_paths_and_strangers() {
    let mut b = table();
    let d = b.positions(
        "mem://d",
        &[
            rows(&[(Some("mem://b"), 7), (Some("mem://a"), 3), (None, 5), (Some("mem://gone"), 1)]),
            rows(&[(Some("mem://a"), 1), (Some("mem://a"), 3), (Some("mem://b"), 0), (Some("mem://a"), 1 << 40)]),
        ],
    );
    let (a, bb) = (b.data("mem://a", 1, lists(&[d], &[], None)), b.data("mem://b", 1, lists(&[d], &[], None)));
    let untouched = b.data("mem://c", 1, lists(&[d], &[], None));
    let newer = b.data("mem://gone", 3, FileDeletes::default());
    let scan = b.build();
    assert_eq!(bits(scan.file(a).await.deleted_positions(0..10)), [1, 3]);
    assert_eq!(bits(scan.file(a).await.deleted_positions(2..4)), [1]);
    assert_eq!(bits(scan.file(bb).await.deleted_positions(0..10)), [0, 7]);
    assert!(scan.file(bb).await.deleted_positions(8..1000).is_none());
    assert!(scan.file(untouched).await.is_empty());
    assert!(scan.file(newer).await.is_empty(), "a delete file applies only to the data files that list it");
}

/// FACTS: delete-file paths match by spelling, rewritten and original ones alike.
#[tokio::test]
async fn rewritten_and_original_spellings_are_one() {
    let mut b = table();
    b.rewrite("hdfs://nn/wh", "/moved").rewrite("/wh", "/moved");
    let d = b.positions("/wh/d", &[rows(&[(Some("hdfs://nn/wh/a"), 1), (Some("/wh/a"), 2), (Some("/moved/a"), 3)])]);
    let a = b.data("/wh/a", 1, lists(&[d], &[], None));
    assert_eq!(bits(b.build().file(a).await.deleted_positions(0..5)), [1, 2, 3]);
}

#[tokio::test]
async fn columns_are_found_by_id_or_by_name_and_others_are_not_decoded() {
    let mut b = table();
    let by_name = batch(vec![
        ("row", 0, Arc::new(UInt8Array::from(vec![9])) as _),
        ("pos", 0, Arc::new(Int32Array::from(vec![4])) as _),
        ("file_path", 0, Arc::new(StringArray::from(vec!["mem://a"])) as _),
    ]);
    let by_id = batch(vec![
        ("p", PATH, Arc::new(StringArray::from(vec!["mem://a"])) as _),
        ("pos", 7, Arc::new(Int64Array::from(vec![100])) as _),
        ("q", POS, Arc::new(Int64Array::from(vec![6])) as _),
    ]);
    let (x, y) = (b.positions("mem://x", &[by_name]), b.positions("mem://y", &[by_id]));
    let a = b.data("mem://a", 1, lists(&[x, y], &[], None));
    assert_eq!(bits(b.build().file(a).await.deleted_positions(0..200)), [4, 6]);
}

/// FACTS: an applicable deletion vector replaces every position delete file of its data file.
#[tokio::test]
async fn a_deletion_vector_replaces_every_position_delete_file() {
    let mut b = table();
    let d = b.positions("mem://d", &[rows(&[(Some("mem://a"), 1)])]);
    let (puffin, offset, size) = super::vector::puffin(&[5]);
    let kind = DeleteKind::Vector { referenced_data_file: "mem://a".into(), content_offset: offset, content_size: size };
    let v = b.delete("mem://v", puffin, kind, 3, 1);
    let a = b.data("mem://a", 1, lists(&[d], &[], Some(v)));
    let scan = b.build();
    assert_eq!(bits(scan.file(a).await.deleted_positions(0..9)), [5]);
    assert_eq!(scan.world.requests("mem://d"), 0);
}

#[tokio::test]
async fn impossible_positions_and_missing_columns_are_corrupt_and_name_the_file() {
    let a_path = || Arc::new(StringArray::from(vec!["mem://a"])) as ArrayRef;
    let bad = [
        rows(&[(Some("mem://a"), -1)]),
        batch(vec![("file_path", PATH, a_path()), ("pos", POS, Arc::new(Int64Array::from(vec![None])) as _)]),
        batch(vec![("file_path", PATH, a_path()), ("pos", POS, a_path())]),
        batch(vec![("file_path", PATH, a_path())]),
        batch(vec![("pos", POS, Arc::new(Int64Array::from(vec![1])) as _)]),
    ];
    for content in bad {
        let mut b = table();
        let d = b.positions("mem://bad-delete", &[content]);
        let a = b.data("mem://a", 1, lists(&[d], &[], None));
        let error = b.build().refusal(a).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.message().contains("mem://bad-delete"), "{error}");
    }
}

#[tokio::test]
async fn damaged_missing_and_foreign_delete_files_fail_and_are_named() {
    let good = parquet(&[rows(&[(Some("mem://a"), 1)])]);
    let cut = good[..good.len() - 9].to_vec();
    let mut flipped = good.clone();
    let middle = good.len() - 60;
    flipped[middle..middle + 30].fill(0xff);
    let cases: Vec<(&str, Vec<u8>, ErrorKind)> = vec![
        ("truncated", cut, ErrorKind::Corrupt),
        ("footer", flipped, ErrorKind::Corrupt),
        ("empty", vec![], ErrorKind::Corrupt),
        ("short", b"PAR1".to_vec(), ErrorKind::Corrupt),
        ("encrypted", [&good[..good.len() - 4], b"PARE"].concat(), ErrorKind::Unsupported),
    ];
    for (name, bytes, kind) in cases {
        let mut b = table();
        let path = format!("mem://{name}");
        let d = b.delete(&path, bytes, DeleteKind::Position { referenced_data_file: None }, 2, 1);
        let a = b.data("mem://a", 1, lists(&[d], &[], None));
        let error = b.build().refusal(a).await;
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert!(error.message().contains(&path), "{error}");
    }
    type Change = fn(&mut DeleteFile);
    let change: [(Change, ErrorKind); 5] = [
        (|d| d.file_size += 1, ErrorKind::Corrupt),
        (|d| d.path = "mem://absent".into(), ErrorKind::MissingFile),
        (|d| d.format = FileFormat::Avro, ErrorKind::Unsupported),
        (|d| d.format = FileFormat::Orc, ErrorKind::Unsupported),
        (|d| d.encrypted = true, ErrorKind::Unsupported),
    ];
    for (change, kind) in change {
        let mut b = table();
        let d = b.positions("mem://d", &[rows(&[(Some("mem://a"), 1)])]);
        change(&mut b.deletes[0]);
        let a = b.data("mem://a", 1, lists(&[d], &[], None));
        let path = b.deletes[0].path.clone();
        let error = b.build().refusal(a).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(&path), "{error}");
    }
}

#[tokio::test]
async fn row_groups_about_other_data_files_are_not_fetched() {
    let mut b = table();
    let position = |i: i64, seed: i64| i.wrapping_mul(0x9E3779B97F4A7C1 + seed) & 0xffff_ffff;
    // Incompressible, so that the file is much longer than its tail read.
    let noise = |path: &'static str, seed: i64| rows(&(0..20_000).map(|i| (Some(path), position(i, seed))).collect::<Vec<_>>());
    let bytes = parquet(&[noise("mem://other", 1), noise("mem://a", 2), noise("mem://more", 3)]);
    let size = bytes.len() as u64;
    let d = b.delete("mem://d", bytes, DeleteKind::Position { referenced_data_file: None }, 2, 60_000);
    let a = b.data("mem://a", 1, lists(&[d], &[], None));
    let expected: BTreeSet<i64> = (0..20_000).map(|i| position(i, 2)).collect();
    let scan = b.build();
    let found = bits(scan.file(a).await.deleted_positions(0..1 << 32)).len();
    assert_eq!(found, expected.len());
    let read = scan.world.bytes_read.load(Ordering::Relaxed);
    assert!(read > 0 && read < size / 2, "{read} of {size} bytes");
}

/// A path of 64 MiB in a file of a few KiB.
#[tokio::test]
async fn pages_that_inflate_beyond_the_budget_are_refused_with_the_figure() {
    let long = "a".repeat(64 << 20);
    let compression = parquet::basic::Compression::ZSTD(Default::default());
    let statistics = parquet::file::properties::EnabledStatistics::None;
    let properties = WriterProperties::builder().set_compression(compression).set_statistics_enabled(statistics).build();
    let bytes = parquet_with(&[rows(&[(Some(&long), 1)])], properties);
    assert!(bytes.len() < 64 << 10, "{}", bytes.len());
    for (budget, fits) in [(32 << 20, false), (1 << 30, true)] {
        let mut b = table();
        b.budget = budget;
        let d = b.delete("mem://bomb", bytes.clone(), DeleteKind::Position { referenced_data_file: None }, 2, 1);
        let a = b.data("mem://a", 1, lists(&[d], &[], None));
        let scan = b.build();
        match scan.ask(a).await {
            Ok(applied) => assert!(fits && applied.is_empty()),
            Err(error) => {
                assert!(!fits, "{error}");
                assert_eq!(error.kind(), ErrorKind::BudgetTooSmall, "{error}");
                assert!(error.message().contains("mem://bomb"), "{error}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Any byte of a delete file changed: an answer or a typed error that names the file, and no memory left behind.
    #[test]
    fn mutated_delete_files_end_in_an_answer_or_a_named_error(at: prop::sample::Index, to: u8, cut in prop::option::of(any::<prop::sample::Index>())) {
        let mut bytes = parquet(&[rows(&(0..300).map(|i| (Some(if i % 3 == 0 { "mem://a" } else { "mem://b" }), i)).collect::<Vec<_>>())]);
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let mut b = table();
        b.budget = 16 << 20;
        let d = b.delete("mem://mutated", bytes, DeleteKind::Position { referenced_data_file: None }, 2, 300);
        let a = b.data("mem://a", 1, lists(&[d], &[], None));
        let scan = b.build();
        let outcome = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(scan.ask(a));
        if let Err(error) = outcome.map(drop) {
            prop_assert!(error.message().contains("mem://mutated"), "{error}");
            prop_assert!(error.kind() != ErrorKind::Internal, "{error}");
        }
        prop_assert_eq!(scan.context.budget.available(), 16 << 20);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Any rows, any grouping into row groups, any ranges: as a set of (path, position) would answer.
    #[test]
    fn position_deletes_agree_with_a_set_of_pairs(
        deleted in prop::collection::vec((0usize..4, prop_oneof![0i64..300, 65_500i64..65_700, (1i64 << 32) - 50..(1i64 << 32) + 50]), 0..400),
        dense in 0u64..70_000,
        cut in 1usize..200,
        sorted: bool,
        ranges in prop::collection::vec((prop_oneof![0u64..400, 65_000u64..66_000, (1u64 << 32) - 200..(1u64 << 32) + 100], 0u64..70_000), 1..8),
    ) {
        let paths = ["mem://a", "mem://b", "mem://not-in-the-plan", "mem://a-longer-name-than-fits-a-view"];
        let mut deleted = deleted;
        deleted.extend((0..dense as i64).filter(|i| i % 97 != 0).map(|i| (1usize, i)));
        if sorted {
            deleted.sort();
        }
        let all: Vec<(Option<&str>, i64)> = deleted.iter().map(|(p, i)| (Some(paths[*p]), *i)).collect();
        let mut batches: Vec<RecordBatch> = all.chunks(cut.max(all.len() / 7 + 1)).map(rows).collect();
        if batches.is_empty() {
            batches.push(rows(&[]));
        }
        let mut b = table();
        let d = b.positions("mem://d", &batches);
        let files: Vec<(usize, u32)> = [0, 1, 3].map(|p| (p, b.data(paths[p], 1, lists(&[d], &[], None)))).to_vec();
        let scan = b.build();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            for (path, file) in files {
                let applied = scan.file(file).await;
                let oracle: BTreeSet<u64> = deleted.iter().filter(|(p, _)| *p == path).map(|(_, i)| *i as u64).collect();
                assert_eq!(applied.is_empty(), oracle.is_empty());
                for (start, length) in &ranges {
                    let range = *start..start + length;
                    let expected: Vec<usize> = oracle.range(range.clone()).map(|v| (v - start) as usize).collect();
                    let got = applied.deleted_positions(range);
                    assert_eq!(got.is_none(), expected.is_empty());
                    if let Some(buffer) = &got {
                        assert_eq!(buffer.len() as u64, *length);
                    }
                    assert_eq!(bits(got), expected);
                }
            }
        });
    }
}
