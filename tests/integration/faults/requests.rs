//! What is asked of a real store, by the requests that came, not by the time they took.

use super::{Bay, latency, many_files, many_row_groups, owned, read};
use fastdata_store::Stores;
use fastdata_testkit::proxy::Logged;
use fastdata_testkit::table::{Layout, Shape};
use fastdata_types::store::{StoreFactory, StoreScope};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

const MIB: u64 = 1 << 20;

/// `bytes=5-9` as 5..10.
fn range(logged: &Logged) -> Option<Range<u64>> {
    let (first, last) = logged.range.as_deref()?.strip_prefix("bytes=")?.split_once('-')?;
    Some(first.parse().ok()?..last.parse::<u64>().ok()? + 1)
}

/// The most requests that were under way at once.
fn at_once(log: &[Logged]) -> usize {
    let under_way = |at| log.iter().filter(|logged| logged.came <= at && logged.ended.is_none_or(|ended| ended > at)).count();
    log.iter().map(|logged| under_way(logged.came)).max().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_ranges_are_split_near_ones_joined_and_all_are_under_way_at_once() {
    let Some(bay) = Bay::shared(many_row_groups(), latency(150)).await else { return };
    let object: Vec<u8> = (0..70 * MIB as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    bay.store.put(&bay.bucket, "large", object.clone());
    let mut properties = bay.store.properties();
    properties.extend([owned(("s3.endpoint", &bay.proxy.endpoint()))]);
    let root = format!("s3://{}/", bay.bucket);
    let scope = StoreScope { allowed: vec![root.clone()], properties, ..StoreScope::default() };
    let store = Stores::with_environment(BTreeMap::new()).open(scope).unwrap();
    let wanted = [3..66 * MIB, 68 * MIB..68 * MIB + 10, 68 * MIB + 500_000..68 * MIB + 500_010, 0..2];
    let read = store.read_ranges(&format!("{root}large"), &wanted).await.unwrap();
    for (bytes, range) in read.iter().zip(&wanted) {
        assert!(bytes[..] == object[range.start as usize..range.end as usize], "{range:?}");
    }
    let log = bay.proxy.take_log();
    let mut asked: Vec<Range<u64>> = log.iter().filter_map(range).collect();
    asked.sort_by_key(|range| range.start);
    let (near, pieces) = asked.split_last().unwrap();
    assert_eq!(near, &(68 * MIB..68 * MIB + 500_010), "two ranges half a megabyte apart are one request");
    assert_eq!((pieces.len(), pieces[0].start, pieces[4].end), (5, 0, 66 * MIB));
    assert!(pieces.iter().all(|piece| (8 * MIB..=16 * MIB).contains(&(piece.end - piece.start))), "{pieces:?}");
    assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start), "{pieces:?}");
    assert_eq!(at_once(&log), 6, "{log:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_file_is_one_read_and_many_are_under_way_at_once() {
    let Some(bay) = Bay::shared(many_files(110), latency(30)).await else { return };
    let truth = bay.truth().await;
    let engine = bay.engine(&bay.proxy.endpoint(), &[]);
    assert_eq!(read(&engine, "").await.unwrap().0, truth);
    let log = bay.proxy.take_log();
    let mut asked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    log.iter().for_each(|logged| asked.entry(&logged.path).or_default().push(logged.range.as_deref().unwrap_or_default()));
    for file in bay.built.table.data_files() {
        let path = format!("/{}/{}", bay.bucket, bay.key(&file.path));
        let ranges = asked.remove(path.as_str()).unwrap_or_default();
        assert_eq!(ranges, ["bytes=-65536"], "{path}");
    }
    // Manifest lists, manifests and delete files: none is read twice either.
    assert!(asked.values().all(|ranges| ranges.iter().collect::<BTreeSet<_>>().len() == ranges.len()), "{asked:?}");
    assert!(at_once(&log) >= 8, "at most {} requests were under way at once", at_once(&log));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_up_to_a_mebibyte_is_one_read_where_there_is_room_for_it() {
    let layout = Layout { rows: 40_000, files_per_partition: 4, row_group_rows: 500, ..Layout::default() };
    let Some(bay) = Bay::shared(Shape { layout, ..Shape::default() }, latency(5)).await else { return };
    let truth = bay.truth().await;
    let reads = async |memory: &str| {
        let engine = bay.engine_with_memory(&bay.proxy.endpoint(), &[], memory);
        bay.proxy.take_log();
        assert_eq!(read(&engine, "").await.unwrap().0, truth);
        let log = bay.proxy.take_log();
        let files = bay.built.table.data_files();
        let of = |path: &str| log.iter().filter(|logged| logged.path.ends_with(path)).count();
        files.iter().map(|file| (file.file_size, of(&bay.key(&file.path)))).collect::<Vec<_>>()
    };
    let roomy = reads("64MiB").await;
    assert!(roomy.iter().all(|(size, reads)| (64 << 10..1 << 20).contains(size) && *reads == 1), "{roomy:?}");
    // A scan keeps a thirty-second part of its budget in small files.
    let tight = reads("4MiB").await;
    assert!(tight.iter().any(|(_, reads)| *reads > 1), "{tight:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_footer_is_one_tail_read_and_no_byte_of_a_file_is_fetched_twice() {
    let shape = many_row_groups();
    let row_groups = shape.layout.rows / shape.layout.files_per_partition / shape.layout.row_group_rows;
    let Some(bay) = Bay::shared(shape, latency(5)).await else { return };
    let truth = bay.truth().await;
    let engine = bay.engine(&bay.proxy.endpoint(), &[]);
    let (rows, stats) = read(&engine, "").await.unwrap();
    assert_eq!(rows, truth);
    let log = bay.proxy.take_log();
    assert_eq!(stats.requests, log.len() as u64);
    assert_eq!(stats.bytes_fetched, log.iter().map(|logged| logged.bytes).sum::<u64>());
    for file in bay.built.table.data_files() {
        let path = format!("/{}/{}", bay.bucket, bay.key(&file.path));
        let of_file: Vec<&Logged> = log.iter().filter(|logged| logged.path == path).collect();
        let tails = of_file.iter().filter(|logged| logged.range.as_deref() == Some("bytes=-65536")).count();
        assert_eq!((tails, of_file[0].range.as_deref()), (1, Some("bytes=-65536")), "{path}");
        let mut ranges: Vec<Range<u64>> = of_file.iter().filter_map(|logged| range(logged)).collect();
        ranges.sort_by_key(|range| range.start);
        assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start), "{path}: {ranges:?}");
        // The columns of a row group share one request.
        assert!(ranges.len() <= row_groups, "{path}: {} requests for {row_groups} row groups", ranges.len());
    }
}
