//! Deletion vectors: the blob, and the Puffin file around it.

use super::super::decode_deletion_vector;
use super::*;
use proptest::prelude::*;
use roaring::RoaringTreemap;

/// The blob of these positions.
pub(super) fn blob(positions: &RoaringTreemap) -> Vec<u8> {
    let mut body = vec![0xD1, 0xD3, 0x39, 0x64];
    positions.serialize_into(&mut body).unwrap();
    frame(&body)
}

/// Length and checksum around magic and vector.
fn frame(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[..], body, &crc32fast::hash(body).to_be_bytes()].concat()
}

/// A Puffin file with one vector: bytes, content offset, content size.
pub(crate) fn puffin(positions: &[u64]) -> (Vec<u8>, u64, u64) {
    let blob = blob(&positions.iter().copied().collect());
    let footer = b"PFA1{\"blobs\":[]}\x0c\0\0\0\0\0\0\0PFA1";
    ([b"PFA1", &blob[..], footer].concat(), 4, blob.len() as u64)
}

fn corrupt(blob: &[u8], cardinality: u64) -> String {
    let error = decode_deletion_vector(blob, cardinality).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    error.message().to_owned()
}

#[test]
fn length_magic_checksum_and_cardinality_are_checked() {
    let good = blob(&[1, 5, 1 << 33].into_iter().collect());
    assert_eq!(decode_deletion_vector(&good, 3).unwrap().iter().collect::<Vec<_>>(), [1, 5, 1 << 33]);
    assert!(corrupt(&good, 4).contains("3 positions"));
    let flip = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        bad
    };
    assert!(corrupt(&flip(3), 3).contains("length"));
    assert!(corrupt(&flip(4), 3).contains("magic"));
    assert!(corrupt(&flip(20), 3).contains("CRC"));
    assert!(corrupt(&flip(good.len() - 1), 3).contains("CRC"));
    for cut in 0..good.len() {
        corrupt(&good[..cut], 3);
    }
    corrupt(&[&good[..], b"x"].concat(), 3);
}

#[test]
fn hostile_vectors_are_corrupt_in_bounded_memory() {
    let vector = |bytes: &[u8]| frame(&[&[0xD1, 0xD3, 0x39, 0x64], bytes].concat());
    let one = |key: u32, value: u32| {
        let mut out = key.to_le_bytes().to_vec();
        roaring::RoaringBitmap::from([value]).serialize_into(&mut out).unwrap();
        out
    };
    let count = |n: u64| n.to_le_bytes().to_vec();
    assert!(corrupt(&vector(&count(u64::MAX)), 1).contains("claims"));
    assert!(corrupt(&vector(&[count(2), one(1, 0)].concat()), 1).contains("claims"));
    assert!(corrupt(&vector(&[count(2), one(1, 0), one(1, 1)].concat()), 2).contains("ascend"));
    assert!(corrupt(&vector(&[count(2), one(2, 0), one(1, 1)].concat()), 2).contains("ascend"));
    assert!(corrupt(&vector(&[count(1), one(0x8000_0000, 0)].concat()), 1).contains("negative"));
    assert!(corrupt(&vector(&[count(1), one(0, 0), one(1, 0)].concat()), 1).contains("follow"));
    assert!(corrupt(&vector(&[count(0), vec![0]].concat()), 0).contains("follow"));
    assert!(corrupt(&vector(&[count(1), vec![0; 12]].concat()), 0).contains("bitmap of key 0"));
    // 65 536 containers claimed, none there; a cookie of runs likewise; more containers than can be.
    for header in [[0x3a, 0x30, 0, 0, 0, 0, 1, 0], [0x3b, 0x30, 0xff, 0xff, 0, 0, 0, 0], [0x3a, 0x30, 0, 0, 0xff, 0xff, 0xff, 0xff]] {
        corrupt(&vector(&[count(1), vec![0; 4], header.to_vec()].concat()), 1);
    }
    assert_eq!(decode_deletion_vector(&vector(&count(0)), 0).unwrap().len(), 0);
}

fn table() -> Builder {
    Builder::new(vec![Field::optional(1, "id", fastdata_types::PrimitiveType::Long)])
}

fn vector_kind(offset: u64, size: u64) -> DeleteKind {
    DeleteKind::Vector { referenced_data_file: "mem://a".into(), content_offset: offset, content_size: size }
}

/// FACTS: many vectors share one Puffin file: key them by (path, content offset).
#[tokio::test]
async fn many_vectors_share_one_puffin_file() {
    let mut b = table();
    let blobs: Vec<Vec<u8>> = [vec![1u64, 2], vec![7], vec![9, 70_000]].iter().map(|p| blob(&p.iter().copied().collect())).collect();
    let file = [b"PFA1", &blobs[0][..], &blobs[1], &blobs[2], b"PFA1{\"blobs\":[]}\x0c\0\0\0\0\0\0\0PFA1"].concat();
    let mut offset = 4;
    let mut files = vec![];
    for (blob, count) in blobs.iter().zip([2, 1, 2]) {
        let v = b.delete("mem://v", file.clone(), vector_kind(offset, blob.len() as u64), 2, count);
        files.push(b.data(&format!("mem://{offset}"), 1, lists(&[], &[], Some(v))));
        offset += blob.len() as u64;
    }
    let scan = b.build();
    assert_eq!(bits(scan.file(files[0]).await.deleted_positions(0..10)), [1, 2]);
    assert_eq!(bits(scan.file(files[1]).await.deleted_positions(0..10)), [7]);
    assert_eq!(bits(scan.file(files[2]).await.deleted_positions(0..100_000)), [9, 70_000]);
}

#[tokio::test]
async fn bare_vectors_wrong_ranges_and_wrong_formats_are_refused_and_named() {
    let (good, offset, size) = puffin(&[1, 2, 3]);
    let bare = blob(&[1u64, 2, 3].into_iter().collect());
    let no_magic = [b"XXXX", &good[4..]].concat();
    let cut = good[..30].to_vec();
    let cases: Vec<(Vec<u8>, u64, u64, u64, ErrorKind)> = vec![
        (bare.clone(), 0, bare.len() as u64, 3, ErrorKind::Corrupt),
        (no_magic, offset, size, 3, ErrorKind::Corrupt),
        (good.clone(), offset, size - 1, 3, ErrorKind::Corrupt),
        (good.clone(), offset + 1, size, 3, ErrorKind::Corrupt),
        (good.clone(), offset, size, 2, ErrorKind::Corrupt),
        (good.clone(), offset, u64::MAX, 3, ErrorKind::Corrupt),
        (good.clone(), u64::MAX - 1, size, 3, ErrorKind::Corrupt),
        (cut, offset, size, 3, ErrorKind::Corrupt),
    ];
    for (bytes, offset, size, cardinality, kind) in cases {
        let mut b = table();
        let v = b.delete("mem://vectors.puffin", bytes, vector_kind(offset, size), 2, cardinality);
        let a = b.data("mem://a", 1, lists(&[], &[], Some(v)));
        let error = b.build().refusal(a).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains("mem://vectors.puffin"), "{error}");
    }
    let mut b = table();
    let v = b.delete("mem://vectors.parquet", good, vector_kind(offset, size), 2, 3);
    b.deletes[0].format = FileFormat::Parquet;
    let a = b.data("mem://a", 1, lists(&[], &[], Some(v)));
    assert_eq!(b.build().refusal(a).await.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn vectors_that_inflate_are_held_within_the_budget() {
    // One run of 65 536 containers of one position each: ten bytes become eighty.
    let sparse: RoaringTreemap = (0..60_000u64).map(|i| i << 16).collect();
    let blob = blob(&sparse);
    let file = [b"PFA1", &blob[..], b"PFA1{\"blobs\":[]}\x0c\0\0\0\0\0\0\0PFA1"].concat();
    for (budget, fits) in [(4 << 20, false), (64 << 20, true)] {
        let mut b = table();
        b.budget = budget;
        let v = b.delete("mem://v", file.clone(), vector_kind(4, blob.len() as u64), 2, 60_000);
        let a = b.data("mem://a", 1, lists(&[], &[], Some(v)));
        let scan = b.build();
        match scan.ask(a).await {
            Ok(applied) => {
                assert!(fits);
                assert_eq!(bits(applied.deleted_positions(0..70_000)), [0, 65_536]);
                assert!(scan.deletes.holdings.held() > 4 << 20);
            }
            Err(error) => {
                assert!(!fits, "{error}");
                assert_eq!(error.kind(), ErrorKind::BudgetTooSmall);
                assert!(error.message().contains("mem://v"), "{error}");
                assert_eq!(scan.context.budget.available(), 4 << 20, "what was taken is given back");
            }
        }
    }
}

proptest! {
    #[test]
    fn vectors_round_trip_and_mutations_never_pass_for_the_original(
        positions in prop::collection::btree_set(prop_oneof![0u64..200_000, (1u64 << 32)..(1u64 << 32) + 1000, 0u64..1 << 62], 0..500),
        run in 0u64..100_000,
        at: prop::sample::Index,
        change in 1u8..,
    ) {
        let mut treemap: RoaringTreemap = positions.into_iter().collect();
        treemap.insert_range(1_000_000..1_000_000 + run);
        treemap.optimize();
        let blob = blob(&treemap);
        prop_assert_eq!(&decode_deletion_vector(&blob, treemap.len()).unwrap(), &treemap);
        let mut bad = blob.clone();
        bad[at.index(blob.len())] ^= change;
        prop_assert!(decode_deletion_vector(&bad, treemap.len()).is_err());
        // With the checksum made right again any answer will do, but it comes.
        let body = bad[4..bad.len() - 4].to_vec();
        let _ = decode_deletion_vector(&frame(&body), treemap.len());
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200), cardinality in 0u64..10) {
        let _ = decode_deletion_vector(&body, cardinality);
        let _ = decode_deletion_vector(&frame(&[&[0xD1, 0xD3, 0x39, 0x64], &1u64.to_le_bytes()[..], &[0; 4], &[0x3b, 0x30], &body].concat()), cardinality);
    }
}
