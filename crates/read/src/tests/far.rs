//! A store behind a round trip: how many reads are under way, how large they are, and that rows are the same.

use super::*;

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
