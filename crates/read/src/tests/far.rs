//! A store behind a round trip: how many reads are under way, how large they are, and that rows are the same.

use super::*;
use parquet::file::metadata::KeyValue;

/// A row group of one column chunk of 16 MB, which nothing compresses.
fn one_large_chunk() -> World {
    let schema = Schema::new(0, vec![Field::optional(1, "x", PrimitiveType::Double)]).unwrap();
    let values = Float64Array::from_iter_values((0..2_000_000).map(|row| f64::from(row).sin()));
    let batch = RecordBatch::try_new(with_ids(&schema), vec![Arc::new(values)]).unwrap();
    let properties = WriterProperties::builder().set_dictionary_enabled(false).set_max_row_group_row_count(Some(2_000_000)).build();
    let mut world = World::new(schema);
    world.add(parquet_bytes(&[batch], properties), 2_000_000);
    world
}

async fn read_to_the_end(world: &World) -> (Vec<RecordBatch>, Arc<MemoryStore>) {
    let (mut stream, context, store) = world.open();
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await {
        batches.push(batch.unwrap());
    }
    drop(stream);
    settled(&context).await;
    (batches, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_of_a_chunk_are_fetched_several_at_a_time_from_afar() {
    let mut world = one_large_chunk();
    world.budget = 24 << 20;
    let (near, store) = read_to_the_end(&world).await;
    assert_eq!(store.most_under_way(), 1);
    world.round_trip = Some(Duration::from_millis(20));
    let (far, store) = read_to_the_end(&world).await;
    assert!(store.most_under_way() >= 3, "{} reads were under way", store.most_under_way());
    assert_eq!(concat_batches(&far[0].schema(), &far).unwrap(), concat_batches(&near[0].schema(), &near).unwrap());
}

/// Where a row group does not fit twice, it is not cut into windows so small that each costs more than it brings.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_group_from_afar_may_have_most_of_the_budget() {
    let fields = (0..24).map(|column| Field::optional(column + 1, format!("c{column}"), PrimitiveType::Double)).collect();
    let schema = Schema::new(0, fields).unwrap();
    let column =
        |column: i32| Arc::new(Float64Array::from_iter_values((0..100_000).map(|row| f64::from(row * 31 + column).sin()))) as ArrayRef;
    let batch = RecordBatch::try_new(with_ids(&schema), (0..24).map(column).collect()).unwrap();
    let properties = WriterProperties::builder().set_dictionary_enabled(false).build();
    let mut world = World::new(schema);
    world.add(parquet_bytes(&[batch], properties), 100_000);
    // The chunks have 19 MB, their pages are thought to take 33.
    world.budget = 72 << 20;
    let (_, near) = read_to_the_end(&world).await;
    world.round_trip = Some(Duration::from_millis(1));
    let (_, far) = read_to_the_end(&world).await;
    assert!(near.requests() > 24, "from nearby the row group should be read in windows: {} requests", near.requests());
    assert_eq!(far.requests(), 2, "the footer, and all chunks at once");
}

/// Threads of the pool belong to everybody: a scan that waits for bytes keeps none of them.
#[tokio::test(flavor = "multi_thread")]
async fn no_thread_of_the_pool_waits_for_a_window() {
    const ROUND_TRIP: Duration = Duration::from_millis(1_500);
    let mut world = one_large_chunk();
    (world.budget, world.round_trip, world.threads) = (24 << 20, Some(ROUND_TRIP), 1);
    let (mut stream, context, store) = world.open();
    let pool = Arc::clone(&context.pool);
    let reading = tokio::spawn(async move {
        let mut rows = 0;
        while let Some(batch) = stream.next().await {
            rows += batch.unwrap().num_rows();
        }
        rows
    });
    let mut longest = Duration::ZERO;
    while !reading.is_finished() {
        let (asked, began) = (tokio::sync::oneshot::channel(), std::time::Instant::now());
        pool.spawn(move || asked.0.send(()).unwrap());
        asked.1.await.unwrap();
        longest = longest.max(began.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(reading.await.unwrap(), 2_000_000);
    assert!(store.requests() > 4, "read in windows: {}", store.requests());
    assert!(longest < ROUND_TRIP / 3, "a job waited {longest:?} for its turn");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_slow_to_open_keeps_few_behind_it_from_being_opened() {
    let files: Vec<Range<i64>> = (0..300).map(|i| i * 10..(i + 1) * 10).collect();
    for (round_trip, opened) in [(None, 32), (Some(Duration::ZERO), 256)] {
        let mut world = World::of_samples(&files, 10);
        (world.round_trip, world.slow) = (round_trip, Some(Duration::from_millis(800)));
        let (mut stream, context, store) = world.open();
        let mut rows = vec![];
        let first = async { stream.next().await.unwrap().unwrap() };
        let behind = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            store.requests()
        };
        let (first, behind) = tokio::join!(first, behind);
        rows.push(first);
        // The slow one is counted when it is answered.
        assert_eq!(behind, opened - 1);
        while let Some(batch) = stream.next().await {
            rows.push(batch.unwrap());
        }
        assert_eq!(concat_batches(&rows[0].schema(), &rows).unwrap(), sample(0..3_000));
        drop(stream);
        settled(&context).await;
    }
}

/// Parsed footers are no part of the budget. These take 4 MiB each, and eight times as much is set aside until they are parsed.
#[tokio::test(flavor = "multi_thread")]
async fn few_heavy_footers_are_parsed_ahead_of_a_file_that_is_slow_to_open() {
    let note = KeyValue::new("note".to_owned(), "x".repeat(4 << 20));
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![note])).build();
    for (round_trip, tails) in [(None, 31), (Some(Duration::ZERO), 39)] {
        let mut world = World::of_samples(&[0..10], 10);
        world.add(parquet_bytes(&[sample(10..20)], properties.clone()), 10);
        // All but the first are one object.
        let heavy = world.files[1].clone();
        world.files.extend(std::iter::repeat_n(heavy, 38));
        (world.round_trip, world.slow) = (round_trip, Some(Duration::from_millis(800)));
        let (mut stream, context, store) = world.open();
        let first = async { stream.next().await.unwrap().unwrap() };
        let behind = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            store.requests()
        };
        let (first, behind) = tokio::join!(first, behind);
        // What lies before a tail is read for eight footers, and for the one that is next.
        assert!((tails + 1..=tails + 9).contains(&behind), "{behind} requests");
        let mut rows = first.num_rows();
        while let Some(batch) = stream.next().await {
            rows += batch.unwrap().num_rows();
        }
        assert_eq!(rows, 400);
        drop(stream);
        settled(&context).await;
    }
}
