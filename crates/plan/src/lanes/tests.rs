use super::*;
use crate::testing::{EntrySpec, TestTable, column, compare, literal};
use fastdata_types::expr::CompareOp;
use fastdata_types::plan::{DataFile, FileDeletes, FileFormat};
use fastdata_types::request::Sample;
use fastdata_types::{PrimitiveType, Value};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A plan over files of so many rows and bytes, cut at these offsets.
async fn plan_of(files: &[(u64, u64, Vec<i64>)]) -> ScanPlan {
    let mut plan = TestTable::unpartitioned().data(1, &[EntrySpec::data("x")]).plan(None).await.unwrap();
    let files: Vec<DataFile> = (0..)
        .zip(files)
        .map(|(number, (rows, bytes, offsets))| DataFile {
            path: format!("f{number}"),
            format: FileFormat::Parquet,
            file_size: *bytes,
            record_count: *rows,
            spec_id: 0,
            partition: Arc::default(),
            sequence_number: 1,
            first_row_id: None,
            sort_order_id: None,
            split_offsets: offsets.clone(),
            encrypted: false,
            deletes: FileDeletes::default(),
        })
        .collect();
    plan.blocks = crate::blocks::of_files(&files).unwrap();
    plan.files = Arc::new(files);
    plan
}

fn request(lanes: u32, shuffle: Option<Shuffle>) -> ScanRequest {
    ScanRequest { lanes: Some(lanes), shuffle, ..ScanRequest::table("a.b") }
}

fn blocks(plan: &LanePlan) -> Vec<Block> {
    plan.lanes.iter().flat_map(|lane| lane.parts.iter().flat_map(|part| part.blocks.iter().copied())).collect()
}

/// Every row of every block of the plan is in exactly one block of the lanes.
fn assert_tiled(plan: &ScanPlan, lanes: &LanePlan) {
    let mut all = blocks(lanes);
    all.sort_by_key(|block| (block.file, place_of(block)));
    let mut all = all.into_iter().peekable();
    for whole in &plan.blocks {
        let mut at = 0;
        loop {
            let block = all.next().unwrap_or_else(|| panic!("{whole:?} has no end"));
            assert_eq!((block.file, block.extent.start, block.extent.end), (whole.file, whole.extent.start, whole.extent.end));
            let Some(share) = block.extent.share else { break };
            assert!(share.from == at && share.to > at && share.to <= share.of, "{block:?}");
            at = share.to;
            if share.to == share.of {
                break;
            }
        }
    }
    assert_eq!(all.next(), None);
}

fn rows_of_lanes(plan: &LanePlan) -> Vec<u64> {
    plan.lanes.iter().map(Lane::rows).collect()
}

#[tokio::test]
async fn lanes_are_stretches_of_the_table_of_as_many_rows_each() {
    let plan = plan_of(&[(100, 1000, vec![4, 200, 400, 600, 800]), (100, 1000, vec![4, 300, 500])]).await;
    let of_two = lanes(&plan, &request(2, None), &[""]).unwrap();
    assert_tiled(&plan, &of_two);
    assert_eq!(blocks(&of_two)[..5], plan.blocks[..5], "cut between two files, and in table order");
    assert!(of_two.lanes.iter().all(|lane| lane.parts.len() >= LEAST_PARTS as usize));
    assert_eq!(rows_of_lanes(&of_two), [100, 100]);
    assert!(of_two.lanes.iter().all(|lane| lane.parts.iter().all(|part| part.blocks.len() == 1)));
    let plan = plan_of(&[(1000, 1000, vec![]), (10, 100, vec![])]).await;
    let of_eight = lanes(&plan, &request(8, None), &[""]).unwrap();
    assert_tiled(&plan, &of_eight);
    assert_eq!(rows_of_lanes(&of_eight), [126, 126, 126, 127, 126, 126, 126, 127]);
    assert_eq!(of_eight.lanes[7].parts.len(), 5, "it reaches into the second file");
    let unasked = lanes(&plan, &ScanRequest::table("a.b"), &[""]).unwrap();
    assert_eq!(blocks(&unasked), plan.blocks, "nobody asked for lanes");
}

#[tokio::test]
async fn a_sample_is_cut_like_a_table() {
    let plan = plan_of(&[(1000, 1000, vec![])]).await;
    let sampled = ScanRequest { sample: Some(Sample { fraction: 0.5, seed: 0 }), ..request(8, None) };
    assert_tiled(&plan, &lanes(&plan, &sampled, &[""]).unwrap());
}

#[tokio::test]
async fn windows_have_at_most_the_rows_asked_for_and_are_in_table_order() {
    let plan = plan_of(&[(1000, 1000, vec![]), (333, 100, vec![])]).await;
    let shuffle = Shuffle { seed: 1, epoch: 0, block_rows: Some(30), window_rows: Some(100) };
    let fine = lanes(&plan, &request(2, Some(shuffle)), &[""]).unwrap();
    assert_tiled(&plan, &fine);
    let parts: Vec<&Part> = fine.lanes.iter().flat_map(|lane| &lane.parts).collect();
    assert!(parts.iter().all(|part| part.rows <= 100 && part.blocks.len() >= 4), "{parts:?}");
    assert!(parts.iter().all(|part| part.blocks.is_sorted_by_key(|block| (block.file, place_of(block)))));
    let coarse = lanes(&plan, &request(2, Some(Shuffle { block_rows: None, ..shuffle })), &[""]).unwrap();
    assert_tiled(&plan, &coarse);
    let rows: Vec<u64> = coarse.lanes.iter().flat_map(|lane| &lane.parts).map(|part| part.rows).collect();
    assert!(rows.iter().all(|rows| (95..=100).contains(rows)), "{rows:?}");
    let in_order = blocks(&coarse);
    let neighbours = in_order.windows(2).filter(|pair| pair[0].file == pair[1].file).count();
    assert!(neighbours + 4 >= in_order.len(), "a row group is read through before the next: {in_order:?}");
}

#[tokio::test]
async fn more_windows_than_a_plan_holds_are_refused() {
    let plan = plan_of(&[(1 << 30, 1000, vec![])]).await;
    let shuffle = |window| request(64, Some(Shuffle { window_rows: Some(window), ..Shuffle::default() }));
    let error = lanes(&plan, &shuffle(1000), &[""]).unwrap_err();
    assert!(error.kind() == fastdata_types::ErrorKind::LimitExceeded && error.message().contains("windows of 1000"), "{error}");
    assert!(lanes(&plan, &shuffle(100_000), &[""]).is_ok());
}

#[tokio::test]
async fn seed_and_epoch_permute_blocks_and_leave_the_digest() {
    let plan = plan_of(&[(10_000, 1000, vec![])]).await;
    let of = |seed, epoch| {
        let shuffle = Shuffle { seed, epoch, block_rows: Some(50), window_rows: Some(100) };
        lanes(&plan, &request(2, Some(shuffle)), &[""]).unwrap()
    };
    let (a, b, c) = (of(1, 0), of(2, 0), of(1, 1));
    assert_eq!(a, of(1, 0));
    assert!(a.digest == b.digest && a.digest == c.digest);
    assert!(blocks(&a) != blocks(&b) && blocks(&a) != blocks(&c));
    let set = |plan: &LanePlan| blocks(plan).iter().map(|block| (block.file, place_of(block))).collect::<BTreeSet<_>>();
    assert!(set(&a) == set(&b) && set(&a) == set(&c));
}

#[tokio::test]
async fn whatever_decides_the_rows_of_a_lane_decides_the_digest() {
    let plan = plan_of(&[(1000, 1000, vec![])]).await;
    let base = lanes(&plan, &request(4, None), &["id > 3"]).unwrap().digest;
    assert_eq!(base, lanes(&plan, &request(4, None), &[" id > 3 "]).unwrap().digest);
    let columns = ScanRequest { columns: vec!["id".into()], batch_rows: Some(7), ..request(4, None) };
    assert_eq!(base, lanes(&plan, &columns, &["id > 3"]).unwrap().digest, "columns and batches are no part of the order");
    let mut others = vec![
        lanes(&plan, &request(5, None), &["id > 3"]).unwrap().digest,
        lanes(&plan, &request(4, None), &["id > 4"]).unwrap().digest,
        lanes(&plan, &request(4, None), &["id > 3", "true"]).unwrap().digest,
        lanes(&plan, &request(4, Some(Shuffle::default())), &["id > 3"]).unwrap().digest,
        lanes(&plan, &request(4, Some(Shuffle { window_rows: Some(9), ..Shuffle::default() })), &["id > 3"]).unwrap().digest,
        lanes(&plan, &ScanRequest { from_snapshot_id: Some(0), ..request(4, None) }, &["id > 3"]).unwrap().digest,
    ];
    let with = |change: fn(&mut ScanPlan)| {
        let mut plan = plan.with_blocks(plan.blocks.clone());
        change(&mut plan);
        lanes(&plan, &request(4, None), &["id > 3"]).unwrap().digest
    };
    others.push(with(|plan| plan.snapshot_id = Some(77)));
    others.push(with(|plan| plan.snapshot_id = None));
    others.push(with(|plan| Arc::make_mut(&mut Arc::make_mut(&mut plan.table).metadata).uuid = Some("other".into())));
    others.push(with(|plan| {
        drop(Arc::make_mut(&mut Arc::make_mut(&mut plan.table).metadata).properties.insert(NAME_MAPPING.into(), "[]".into()))
    }));
    others.push(with(|plan| Arc::make_mut(&mut plan.files)[0].path.push('x')));
    others.push(base);
    assert_eq!(others.iter().collect::<std::collections::HashSet<_>>().len(), others.len(), "{others:?}");
}

/// Text, snapshot and schema are the same: a rename has made the names of a grant mean other columns.
#[tokio::test]
async fn a_filter_of_other_columns_is_of_another_digest() {
    let plan = plan_of(&[(1000, 1000, vec![])]).await;
    let of = |columns: [i32; 2]| {
        let is_eu = |id| compare(column(id, PrimitiveType::String), CompareOp::Eq, literal(Value::String("eu".into())));
        let filter = Some(Arc::new(Expr::And(columns.map(is_eu).to_vec())));
        let plan = ScanPlan { filter, ..plan.with_blocks(plan.blocks.clone()) };
        lanes(&plan, &request(4, None), &["", "region = 'eu' AND area = 'eu'"]).unwrap().digest
    };
    assert_eq!(of([2, 3]), of([2, 3]));
    assert!(of([2, 3]) != of([2, 4]) && of([2, 3]) != of([3, 2]), "which column stands where");
}

proptest! {
    #[test]
    fn every_row_is_in_exactly_one_block_of_one_lane(
        files in prop::collection::vec((0..5000u64, 1..5000u64, prop::collection::vec(0..5000i64, 0..6)), 0..6),
        count in 1..40u32,
        shuffle in prop::option::of((any::<u64>(), 1..700u32, 1..3000u32)),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let plan = runtime.block_on(plan_of(&files));
        let shuffle = shuffle.map(|(seed, block, window)| Shuffle { seed, epoch: 1, block_rows: Some(block), window_rows: Some(window) });
        let lanes = lanes(&plan, &request(count, shuffle), &[""]).unwrap();
        prop_assert_eq!(lanes.lanes.len(), count as usize);
        assert_tiled(&plan, &lanes);
        let rows = rows_of_lanes(&lanes);
        prop_assert!(rows.iter().max().unwrap() - rows.iter().min().unwrap() <= 1, "{:?}", rows);
    }
}
