//! Deletion vectors and Puffin files that other implementations wrote.

use super::super::decode_deletion_vector;
use super::*;
use std::path::PathBuf;

/// A file of the corpus; `None`, and a word about it, where there is none.
fn corpus(path: &str) -> Option<Vec<u8>> {
    let Some(root) = std::env::var_os("FASTDATA_CORPUS").map(PathBuf::from) else {
        eprintln!("skipped: FASTDATA_CORPUS is not set, '{path}' is not tested");
        return None;
    };
    Some(std::fs::read(root.join(path)).unwrap())
}

fn positions(path: &str, cardinality: u64) -> Option<Vec<u64>> {
    Some(decode_deletion_vector(&corpus(path)?, cardinality).unwrap().iter().collect())
}

const JAVA: &str = "iceberg-java/core/src/test/resources/org/apache/iceberg/deletes";

#[test]
fn golden_vectors_of_the_java_reference_decode() {
    for folder in [JAVA, "iceberg-go/table/dv/testdata/deletes"] {
        let golden = |name: &str, cardinality: u64| positions(&format!("{folder}/{name}-position-index.bin"), cardinality);
        let Some(empty) = golden("empty", 0) else { return };
        assert!(empty.is_empty());
        assert_eq!(golden("small-alternating-values", 5).unwrap(), [1, 3, 5, 7, 9]);
        let large = golden("small-and-large-values", 4).unwrap();
        assert_eq!(large, [100, 101, 2_147_483_747, 2_147_483_748]);
        let all = golden("all-container-types", 132_561).unwrap();
        let high = 1u64 << 32;
        let expected = [5, 7].into_iter().chain(65_537..=66_535).chain(131_073..=196_606);
        let expected = expected.chain([high + 10, high + 20]).chain(high + 65_546..=high + 66_035).chain(high + 131_073..=high + 196_606);
        assert_eq!(all, expected.collect::<Vec<u64>>());
    }
}

/// A vector of a Puffin file: path, offset, size, positions.
const VECTORS: [(&str, u64, u64, &[u64]); 6] = [
    ("iceberg-go/puffin/testdata/deletion-vector-v1.puffin", 4, 50, &[1, 3, 5, 7, 9]),
    (
        "iceberg-cxx/tests/tables/deletion_vectors/data/dv-20260504_111446_00010_8gkte-9a41c74f-3cae-4b67-a4e3-ec4437d1c988.puffin",
        4,
        46,
        &[],
    ),
    (
        "iceberg-cxx/tests/tables/deletion_vectors/data/dv-20260504_111849_00012_8gkte-2ed65adb-8895-4026-bb5e-efcedbf874e5.puffin",
        4,
        44,
        &[],
    ),
    (
        "iceberg-cxx/tests/tables/deletion_vectors/data/dv-20260504_111849_00012_8gkte-2ed65adb-8895-4026-bb5e-efcedbf874e5.puffin",
        48,
        52,
        &[],
    ),
    ("../hostile/base/iceberg_v3_deletion_vectors/data/00000-9-08e88179-85b6-4635-8b34-94b49abc87d9-00001-deletes.puffin", 4, 42, &[]),
    ("../hostile/base/iceberg_v3_deletion_vectors/data/00000-9-08e88179-85b6-4635-8b34-94b49abc87d9-00001-deletes.puffin", 46, 42, &[]),
];

#[tokio::test]
async fn puffin_files_of_java_trino_and_go_are_read() {
    for ((path, offset, size, expected), cardinality) in VECTORS.into_iter().zip([5, 3, 2, 6, 1, 1]) {
        let Some(bytes) = corpus(path) else { return };
        let mut b = Builder::new(vec![Field::optional(1, "id", fastdata_types::PrimitiveType::Long)]);
        let kind = DeleteKind::Vector { referenced_data_file: "mem://a".into(), content_offset: offset, content_size: size };
        let v = b.delete("mem://v", bytes, kind, 2, cardinality);
        let a = b.data("mem://a", 1, lists(&[], &[], Some(v)));
        let found = bits(b.build().file(a).await.deleted_positions(0..1000));
        assert_eq!(found.len() as u64, cardinality, "{path}");
        if !expected.is_empty() {
            assert_eq!(found.iter().map(|p| *p as u64).collect::<Vec<_>>(), expected);
        }
    }
}

#[tokio::test]
async fn a_bare_vector_without_the_puffin_frame_is_refused() {
    let path = "duckdb-iceberg/data/persistent/legacy_bare_deletion_vector/warehouse/default/legacy_bare_deletion_vector/data/legacy-bare-deletion-vector.puffin";
    let Some(bytes) = corpus(path) else { return };
    let mut b = Builder::new(vec![Field::optional(1, "id", fastdata_types::PrimitiveType::Long)]);
    let kind = DeleteKind::Vector { referenced_data_file: "mem://a".into(), content_offset: 0, content_size: bytes.len() as u64 };
    let v = b.delete("mem://bare", bytes, kind, 2, 1);
    let a = b.data("mem://a", 1, lists(&[], &[], Some(v)));
    let error = b.build().refusal(a).await;
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("mem://bare") && error.message().contains("bare vector"), "{error}");
}
