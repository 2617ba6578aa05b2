//! Limits, and what they save.

use super::*;

#[tokio::test]
async fn a_limit_returns_exactly_that_many_rows_and_in_stable_order_the_first() {
    for order in [Order::Stable, Order::Fast] {
        for limit in [0, 1, 10, 999, 1000, 1001, 2500, 99_999] {
            let mut world = World::of_samples(&[0..1000, 1000..3000], 300);
            (world.options.limit, world.options.order) = (Some(limit), order);
            let rows = world.rows().await.unwrap();
            assert_eq!(rows.num_rows() as u64, limit.min(3000));
            if order == Order::Stable {
                assert_eq!(rows, sample(0..limit.min(3000) as i64));
            }
        }
    }
}

#[tokio::test]
async fn a_limit_reads_no_more_files_than_it_needs() {
    let files: Vec<Range<i64>> = (0..100).map(|i| i * 100..(i + 1) * 100).collect();
    let mut world = World::of_samples(&files, 100);
    world.options.limit = Some(150);
    let (mut stream, _, store) = world.open();
    while let Some(batch) = stream.next().await {
        batch.unwrap();
    }
    assert!(store.requests() <= 2 * 4, "{}", store.requests());
}

#[tokio::test]
async fn a_file_costs_one_request_for_its_footer_and_one_per_row_group() {
    let world = World::of_samples(&[0..50_000], 25_000);
    let (mut stream, context, store) = world.open();
    while let Some(batch) = stream.next().await {
        batch.unwrap();
    }
    let stats = context.stats.snapshot();
    assert_eq!((store.requests(), stats.requests), (3, 3));
    assert_eq!((stats.files_read, stats.row_groups_read, stats.rows, stats.rows_decoded), (1, 2, 50_000, 50_000));
    assert!(stats.batches >= 2 && stats.bytes_returned > 50_000 * 8 && stats.bytes_fetched > 0 && stats.decode_us > 0);
}

#[tokio::test]
async fn what_came_with_the_footer_is_not_fetched_again() {
    for (round_trip, rows, requests) in
        [(None, 1_000, 1), (Some(Duration::ZERO), 1_000, 1), (None, 10_000, 3), (Some(Duration::ZERO), 10_000, 1)]
    {
        let mut world = World::of_samples(&[0..rows], rows as usize / 2);
        (world.round_trip, world.budget) = (round_trip, 64 << 20);
        let size = world.objects[0].1.len();
        assert_eq!((64 << 10..1 << 20).contains(&size), rows == 10_000, "{size}");
        let (mut stream, context, store) = world.open();
        let mut read = vec![];
        while let Some(batch) = stream.next().await {
            read.push(batch.unwrap());
        }
        assert_eq!(concat_batches(&read[0].schema(), &read).unwrap(), sample(0..rows), "{round_trip:?}");
        assert_eq!(store.requests(), requests, "{round_trip:?}, {rows} rows");
        drop(stream);
        settled(&context).await;
    }
}

#[tokio::test]
async fn only_the_columns_asked_for_are_fetched() {
    let world = World::of_samples(&[0..50_000], 50_000).select(&["score"]);
    let (mut stream, context, _) = world.open();
    while let Some(batch) = stream.next().await {
        batch.unwrap();
    }
    let fetched = context.stats.snapshot().bytes_fetched;
    assert!(fetched < world.objects[0].1.len() as u64 / 2 + (64 << 10), "{fetched}");
}
