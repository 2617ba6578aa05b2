use super::*;
use fastdata_types::plan::{FileDeletes, FileFormat};
use proptest::prelude::*;
use std::sync::Arc;

fn file(path: &str, file_size: u64, split_offsets: Vec<i64>) -> DataFile {
    DataFile {
        path: path.to_owned(),
        format: FileFormat::Parquet,
        file_size,
        record_count: 1,
        spec_id: 0,
        partition: Arc::default(),
        sequence_number: 1,
        first_row_id: None,
        sort_order_id: None,
        split_offsets,
        encrypted: false,
        deletes: FileDeletes::default(),
    }
}

fn bytes_of(block: &Block) -> (u64, u64) {
    assert_eq!(block.extent.share, None, "split offsets cut whole row groups");
    (block.extent.start, block.extent.end)
}

fn ranges(size: u64, offsets: &[i64]) -> Vec<(u64, u64)> {
    of_files(&[file("a", size, offsets.to_vec())]).unwrap().iter().map(bytes_of).collect()
}

#[test]
fn valid_offsets_cut_the_file_from_its_first_byte_to_its_last() {
    assert_eq!(ranges(100, &[4, 30, 60]), [(0, 30), (30, 60), (60, 100)]);
    assert_eq!(ranges(100, &[4]), [(0, 100)]);
    assert_eq!(ranges(100, &[]), [(0, 100)]);
}

#[test]
fn invalid_offsets_make_one_block() {
    for offsets in [&[4, 60, 30][..], &[4, 4, 30], &[-4, 30], &[4, 100], &[4, i64::MAX], &[i64::MIN, 3]] {
        assert_eq!(ranges(100, offsets), [(0, 100)], "{offsets:?}");
    }
}

proptest! {
    /// Whatever the offsets say.
    #[test]
    fn each_row_group_start_is_in_exactly_one_block(size in 1_u64..500, offsets in prop::collection::vec(-5_i64..520, 0..8), sorted in any::<bool>()) {
        let mut offsets = offsets;
        if sorted {
            offsets.sort_unstable();
            offsets.dedup();
        }
        let blocks = ranges(size, &offsets);
        for start in 0..size {
            prop_assert_eq!(blocks.iter().filter(|(from, to)| (*from..*to).contains(&start)).count(), 1);
        }
    }

    #[test]
    fn a_sample_is_the_same_whatever_else_is_in_the_table(seed in any::<u64>(), fraction in 0.0..=1.0_f64, extra in 0_usize..5) {
        let make = |extra: usize| -> (Vec<DataFile>, Vec<Block>) {
            let mut files: Vec<DataFile> = (0..extra).map(|n| file(&format!("extra{n}"), 50, vec![])).collect();
            files.extend((0..20).map(|n| file(&format!("f{n}"), 100, vec![4, 50])));
            let mut blocks = of_files(&files).unwrap();
            sample(&mut files, &mut blocks, Sample { fraction, seed });
            (files, blocks)
        };
        let named = |(files, blocks): (Vec<DataFile>, Vec<Block>)| -> Vec<(String, u64)> {
            let kept = blocks.iter().map(|b| (files[b.file as usize].path.clone(), bytes_of(b).0));
            kept.filter(|(path, _)| path.starts_with('f')).collect()
        };
        prop_assert_eq!(named(make(0)), named(make(extra)));
    }
}

#[test]
fn a_sample_keeps_about_its_fraction_and_its_ends_are_exact() {
    let kept = |fraction: f64| {
        let mut files: Vec<DataFile> = (0..2000).map(|n| file(&format!("f{n}"), 100, vec![])).collect();
        let mut blocks = of_files(&files).unwrap();
        sample(&mut files, &mut blocks, Sample { fraction, seed: 7 });
        assert_eq!(files.len(), blocks.len());
        files.len()
    };
    assert_eq!(kept(0.0), 0);
    assert_eq!(kept(1.0), 2000);
    assert!((400..600).contains(&kept(0.25)), "{}", kept(0.25));
}
