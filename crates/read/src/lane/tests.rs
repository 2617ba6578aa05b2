//! Lanes: each row in one of them, and from any position the same rest.

use super::{LaneStart, count_lanes, read_lanes};
use crate::deletes::tests::vector::puffin;
use crate::tests::{World, sample, settled};
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Int64Type;
use fastdata_types::expr::{Column, CompareOp};
use fastdata_types::lanes::{Lane, LanePlan, LanePosition, Part, PlanDigest, ShuffleKey};
use fastdata_types::plan::{Block, DeleteFile, DeleteKind, Extent, FileFormat, Share};
use fastdata_types::schema::PrimitiveType;
use fastdata_types::{ErrorKind, Expr, Result, Value};
use futures::StreamExt;
use proptest::prelude::*;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Deals blocks of so many rows to lanes, in parts of so many blocks.
fn deal(files: &[Range<i64>], block_rows: u64, lanes: usize, part_blocks: usize, shuffle: Option<ShuffleKey>) -> LanePlan {
    let mut dealt: Vec<Vec<(Block, u64)>> = vec![vec![]; lanes];
    let mut next = 0;
    for (file, rows) in (0..).zip(files) {
        let count = (rows.end - rows.start) as u64;
        let mut start = 0;
        while start < count {
            let end = start + block_rows;
            let share = Share { from: start, to: end.min(count), of: count };
            let block = Block { file, extent: Extent { start: 0, end: u64::MAX, share: Some(share) } };
            dealt[next % lanes].push((block, end.min(count) - start));
            next += 1;
            start = end;
        }
    }
    let lanes = dealt.into_iter().zip(0..).map(|(blocks, number)| {
        let part = |blocks: &[(Block, u64)]| Part {
            blocks: blocks.iter().map(|(block, _)| *block).collect(),
            rows: blocks.iter().map(|(_, rows)| rows).sum(),
        };
        Lane { number, parts: blocks.chunks(part_blocks).map(part).collect() }
    });
    LanePlan { digest: PlanDigest([3; 16]), snapshot_id: Some(1), schema_id: 0, shuffle, lanes: lanes.collect() }
}

/// Reads a lane from a position, at most so many batches: ids and the position after each batch.
async fn pull(world: &World, lanes: &LanePlan, lane: u32, position: LanePosition, most: usize) -> Result<Vec<(Vec<i64>, LanePosition)>> {
    let (plan, _) = world.plan();
    let context = world.context();
    let start = LaneStart { plan: Arc::new(lanes.clone()), lanes: vec![(lane, position)] };
    let mut stream = read_lanes(plan, start, world.options.clone(), context.clone())?;
    let mut pulled = Vec::new();
    while pulled.len() < most
        && let Some(next) = stream.next().await
    {
        let next = next?;
        pulled.push((ids(&next.batch), next.position));
    }
    drop(stream);
    settled(&context).await;
    Ok(pulled)
}

fn ids(batch: &RecordBatch) -> Vec<i64> {
    batch.column(0).as_primitive::<Int64Type>().values().to_vec()
}

fn flat(pulled: &[(Vec<i64>, LanePosition)]) -> Vec<i64> {
    pulled.iter().flat_map(|(ids, _)| ids.iter().copied()).collect()
}

fn id_below(limit: i64) -> Expr {
    let column = Expr::Column(Column { id: 1, path: vec!["id".into()], ty: PrimitiveType::Long.into() });
    let literal = Expr::Literal(Some(Value::Long(limit)), PrimitiveType::Long);
    Expr::Compare { op: CompareOp::Lt, left: Box::new(column), right: Box::new(literal) }
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_of_row_ranges_give_each_row_once_with_every_column() {
    let files = [0..1000, 1000..1001, 1001..3500];
    for shuffle in [None, Some(ShuffleKey { seed: 5, epoch: 1 })] {
        let world = World::of_samples(&files, 300);
        let lanes = deal(&files, 170, 3, 2, shuffle);
        let mut rows: Vec<RecordBatch> = Vec::new();
        for lane in 0..3 {
            let (plan, _) = world.plan();
            let start = LaneStart { plan: Arc::new(lanes.clone()), lanes: vec![(lane, LanePosition::default())] };
            let mut stream = read_lanes(plan, start, world.options.clone(), world.context()).unwrap();
            while let Some(next) = stream.next().await {
                rows.push(next.unwrap().batch);
            }
        }
        let all = concat_batches(&rows[0].schema(), &rows).unwrap();
        let order = arrow::compute::sort_to_indices(all.column(0), None, None).unwrap();
        let sorted = arrow::compute::take_record_batch(&all, &order).unwrap();
        assert_eq!(sorted, sample(0..3500), "{shuffle:?}");
        assert!(!ids(&all).is_sorted());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resuming_with_a_hint_decodes_one_part_again_at_most() {
    let files = [0..20_000, 20_000..40_000];
    for shuffle in [None, Some(ShuffleKey { seed: 1, epoch: 0 })] {
        let mut world = World::of_samples(&files, 5000);
        world.options.batch_rows = 100;
        let lanes = deal(&files, 500, 2, 4, shuffle);
        let whole = pull(&world, &lanes, 1, LanePosition::default(), usize::MAX).await.unwrap();
        assert_eq!(flat(&whole).len(), 20_000);
        let at = whole.len() * 9 / 10;
        let position = whole[at - 1].1;
        let (plan, _) = world.plan();
        let context = world.context();
        let start = LaneStart { plan: Arc::new(lanes), lanes: vec![(1, position)] };
        let mut stream = read_lanes(plan, start, world.options.clone(), context.clone()).unwrap();
        let mut rest = vec![];
        while let Some(next) = stream.next().await {
            rest.extend(ids(&next.unwrap().batch));
        }
        assert_eq!(rest, flat(&whole[at..]), "{shuffle:?}");
        let decoded = context.stats.rows_decoded.load(Ordering::Relaxed);
        assert_eq!(context.stats.rows.load(Ordering::Relaxed), rest.len() as u64);
        assert!(decoded <= rest.len() as u64 + 2000, "{decoded} rows decoded for {} left", rest.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_beyond_the_end_is_refused_and_the_end_itself_is_empty() {
    let files = [0..1000];
    for shuffle in [None, Some(ShuffleKey::default())] {
        let world = World::of_samples(&files, 300);
        let lanes = deal(&files, 100, 2, 2, shuffle);
        for position in [
            LanePosition::after(500),
            LanePosition::new(&lanes, 0, 500, 3, 0),
            pull(&world, &lanes, 0, LanePosition::default(), usize::MAX).await.unwrap().last().unwrap().1,
        ] {
            assert_eq!(pull(&world, &lanes, 0, position, usize::MAX).await.unwrap(), vec![], "{position:?}");
        }
        let beyond = [
            LanePosition::after(501),
            LanePosition::new(&lanes, 0, 501, 2, 101),
            LanePosition::new(&lanes, 0, 501, 3, 1),
            LanePosition::new(&lanes, 0, 250, 0, 201),
        ];
        for position in beyond {
            let error = pull(&world, &lanes, 0, position, usize::MAX).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{position:?}: {error}");
        }
        // More rows in the part than before it: no position has that.
        let error = pull(&world, &lanes, 0, LanePosition::new(&lanes, 0, 10, 1, 20), 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_does_not_fit_is_refused_with_a_figure_that_suffices() {
    let files = [0..200_000];
    let mut world = World::of_samples(&files, 20_000);
    world.budget = 10 << 20;
    let lanes = deal(&files, 200_000, 1, 1, Some(ShuffleKey::default()));
    let error = pull(&world, &lanes, 0, LanePosition::default(), usize::MAX).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BudgetTooSmall, "{error}");
    let advice = error.advice_text().unwrap();
    let figure: u64 = advice.split_whitespace().find_map(|word| word.strip_suffix("MiB,")?.parse().ok()).unwrap();
    world.budget = figure << 20;
    assert_eq!(flat(&pull(&world, &lanes, 0, LanePosition::default(), usize::MAX).await.unwrap()).len(), 200_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_a_window_counts_as_its_memory() {
    let files = [0..300_000];
    let mut world = World::of_samples(&files, 20_000).select(&["id"]);
    // The ids themselves would fit.
    world.budget = 16 << 20;
    let lanes = deal(&files, 300_000, 1, 1, Some(ShuffleKey::default()));
    let error = pull(&world, &lanes, 0, LanePosition::default(), usize::MAX).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BudgetTooSmall, "{error}");
}

/// Files are opened again in every window, and while the deletes of two of them are in memory there is no room for a third's. The first
/// file comes a window later than the others: what it waits for is held for files that were opened before, and will be opened after it.
#[tokio::test(flavor = "multi_thread")]
async fn deletes_of_files_that_windows_open_again_and_again_neither_stall_nor_are_refused() {
    let mut world = World::of_samples(&[0..400, 400..800, 800..1200], 400).select(&["id"]);
    for file in 0..3u32 {
        // Rows of the file in the first container only. The others make it large: 1.03 MiB, and 1.43 while it is decoded.
        let positions: Vec<u64> =
            (0..5600).flat_map(|container| (0..28).map(move |at| (container << 16) + 7 * at + u64::from(file))).collect();
        let (bytes, content_offset, content_size) = puffin(&positions);
        let referenced_data_file = world.files[file as usize].path.clone();
        world.files[file as usize].deletes.vector = Some(file);
        world.deletes.push(DeleteFile {
            path: format!("deletes/{file}.puffin"),
            format: FileFormat::Puffin,
            file_size: bytes.len() as u64,
            record_count: positions.len() as u64,
            spec_id: 0,
            partition: Arc::new(vec![]),
            sequence_number: 9,
            encrypted: false,
            kind: DeleteKind::Vector { referenced_data_file, content_offset, content_size },
        });
        world.objects.push((format!("deletes/{file}.puffin"), bytes));
    }
    let part = |window: u64| {
        let quarter = |file| Some((file, if file == 0 { window.checked_sub(1)? } else { window })).filter(|(_, quarter)| *quarter < 4);
        let share = |quarter| Some(Share { from: 100 * quarter, to: 100 * (quarter + 1), of: 400 });
        let block = |(file, quarter)| Block { file, extent: Extent { start: 0, end: u64::MAX, share: share(quarter) } };
        let blocks: Vec<Block> = (0..3).filter_map(quarter).map(block).collect();
        Part { rows: 100 * blocks.len() as u64, blocks }
    };
    let lane = Lane { number: 0, parts: (0..5).map(part).collect() };
    let shuffle = Some(ShuffleKey::default());
    let lanes = LanePlan { digest: PlanDigest([3; 16]), snapshot_id: Some(1), schema_id: 0, shuffle, lanes: vec![lane] };
    // A shuffled lane reads within half of it, and deletes take a half of that at most: 3.25 MiB.
    world.budget = 13 << 20;
    let pulled = tokio::time::timeout(Duration::from_secs(60), pull(&world, &lanes, 0, LanePosition::default(), usize::MAX)).await;
    let mut rows = flat(&pulled.expect("a stall").unwrap());
    rows.sort_unstable();
    let is_deleted = |id: i64| (0..28).any(|at| id % 400 == 7 * at + id / 400);
    assert_eq!(rows, (0..1200).filter(|id| !is_deleted(*id)).collect::<Vec<_>>());
}

/// A step may end behind the decoding of a row group's last slice, which is not the end of the row group.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_slice_of_a_row_group_is_not_lost_between_two_steps() {
    let rows = 131_072;
    let files = [0..rows];
    let mut world = World::of_samples(&files, rows as usize).select(&["id"]);
    let lanes = deal(&files, rows as u64, 1, 1, None);
    assert_eq!(count_lanes(&world.plan().0, &lanes, world.context()).await.unwrap(), [rows as u64]);
    // Nothing of the first slice survives.
    world.filter = Some(Expr::Not(Box::new(id_below(rows / 2))));
    world.options.batch_rows = rows as usize / 2;
    assert_eq!(count_lanes(&world.plan().0, &lanes, world.context()).await.unwrap(), [rows as u64 / 2]);
    assert_eq!(flat(&pull(&world, &lanes, 0, LanePosition::default(), usize::MAX).await.unwrap()), (rows / 2..rows).collect::<Vec<_>>());
}

#[derive(Debug, Clone)]
struct Case {
    files: Vec<i64>,
    row_group: usize,
    block_rows: u64,
    lanes: usize,
    part_blocks: usize,
    shuffle: Option<ShuffleKey>,
    filter: Option<i64>,
    batch_rows: usize,
    /// Batches until each kill, and whether the position then carries its hint.
    kills: Vec<(usize, bool)>,
    threads: usize,
    budget: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let shuffle = prop::option::of((any::<u64>(), 0..3u64).prop_map(|(seed, epoch)| ShuffleKey { seed, epoch }));
    (
        (prop::collection::vec(0..400i64, 1..5), 1..300usize, 1..200u64, 1..5usize, 1..4usize, shuffle),
        (prop::option::of(0..1000i64), 1..120usize, prop::collection::vec((0..6usize, any::<bool>()), 0..6), 1..4usize),
        // A shuffled lane reads within half of it, and the footer of 400 row groups is 2 MiB.
        prop::sample::select(vec![5u64 << 20, 8 << 20, 256 << 20]),
    )
        .prop_map(|((files, row_group, block_rows, lanes, part_blocks, shuffle), (filter, batch_rows, kills, threads), budget)| Case {
            files,
            row_group,
            block_rows,
            lanes,
            part_blocks,
            shuffle,
            filter,
            batch_rows,
            kills,
            threads,
            budget,
        })
}

async fn check(case: Case) {
    let mut start = 0;
    let files: Vec<Range<i64>> = case
        .files
        .iter()
        .map(|rows| {
            start += rows;
            start - rows..start
        })
        .collect();
    let mut world = World::of_samples(&files, case.row_group);
    world.filter = case.filter.map(id_below);
    world.options.batch_rows = case.batch_rows;
    let lanes = deal(&files, case.block_rows, case.lanes, case.part_blocks, case.shuffle);
    let (mut all, mut killed, mut rests) = (Vec::new(), Vec::new(), Vec::new());
    let (plan, _) = world.plan();
    let counts = count_lanes(&plan, &lanes, world.context()).await.unwrap();
    for lane in 0..case.lanes as u32 {
        (world.threads, world.budget) = (2, 64 << 20);
        let whole = flat(&pull(&world, &lanes, lane, LanePosition::default(), usize::MAX).await.unwrap());
        assert_eq!(counts[lane as usize], whole.len() as u64);
        // Another machine, killed and resumed on the way.
        (world.threads, world.budget) = (case.threads, case.budget);
        let (mut position, mut resumed) = (LanePosition::default(), Vec::new());
        for (batches, hint) in &case.kills {
            let pulled = pull(&world, &lanes, lane, position, *batches).await.unwrap();
            resumed.extend(flat(&pulled));
            position = pulled.last().map_or(position, |(_, position)| *position);
            assert_eq!(position.rows, resumed.len() as u64);
            if !hint {
                position.hint = None;
            }
        }
        killed.push((lane, position));
        rests.push(whole[resumed.len()..].to_vec());
        resumed.extend(flat(&pull(&world, &lanes, lane, position, usize::MAX).await.unwrap()));
        assert_eq!(resumed, whole);
        if case.shuffle.is_none() {
            assert!(whole.is_sorted());
        }
        all.extend(whole);
    }
    // All lanes by one reader, in any order.
    killed.rotate_left(case.batch_rows % case.lanes);
    let starts = LaneStart { plan: Arc::new(lanes.clone()), lanes: killed.clone() };
    let mut stream = read_lanes(world.plan().0, starts, world.options.clone(), world.context()).unwrap();
    let mut together = vec![Vec::new(); case.lanes];
    let mut order = Vec::new();
    while let Some(next) = stream.next().await {
        let next = next.unwrap();
        let rows = &mut together[next.lane as usize];
        rows.extend(ids(&next.batch));
        let before = killed.iter().find(|(lane, _)| *lane == next.lane).unwrap().1;
        assert_eq!(next.position.rows, before.rows + rows.len() as u64);
        assert!(lanes.check(next.lane, &next.position).is_ok());
        order.push(killed.iter().position(|(lane, _)| *lane == next.lane));
    }
    assert_eq!(together, rests);
    assert!(order.is_sorted(), "one lane after the other");
    all.sort_unstable();
    let expected: Vec<i64> = (0..start).filter(|id| case.filter.is_none_or(|limit| *id < limit)).collect();
    assert_eq!(all, expected);
}

/// FASTDATA_PROPTEST_CASES asks for another number than the usual one.
fn number_of_cases() -> u32 {
    std::env::var("FASTDATA_PROPTEST_CASES").map_or(64, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: number_of_cases(), failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_row_once_in_the_same_order_however_often_a_lane_is_killed(case in cases()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(check(case));
    }
}
