//! Every row comes once, whole, whatever the layout.

use super::*;

fn all(files: &[Range<i64>]) -> RecordBatch {
    let batches: Vec<RecordBatch> = files.iter().cloned().map(sample).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

#[tokio::test]
async fn rows_come_back_as_they_were_written() {
    let files = [0..1000, 1000..1001, 1001..5000];
    for order in [Order::Stable, Order::Fast] {
        let mut world = World::of_samples(&files, 700);
        world.options.order = order;
        let rows = world.rows().await.unwrap();
        match order {
            Order::Stable => assert_eq!(rows, all(&files)),
            Order::Fast => assert_eq!(rows.num_rows(), 5000),
        }
    }
}

#[tokio::test]
async fn each_row_group_is_read_once_however_files_are_cut_into_blocks() {
    let files = [0..3000];
    for blocks in [1, 2, 3, 7, 50, 1000] {
        let mut world = World::of_samples(&files, 100);
        world.blocks_per_file = blocks;
        assert_eq!(world.rows().await.unwrap(), all(&files), "{blocks}");
    }
}

#[tokio::test]
async fn a_wrong_file_size_in_the_manifest_loses_no_row() {
    for size in [0, 10, 1 << 62] {
        let mut world = World::of_samples(&[0..3000], 100);
        world.files[0].file_size = size;
        assert_eq!(world.rows().await.unwrap().num_rows(), 3000, "{size}");
    }
}

#[tokio::test]
async fn no_columns_still_count_rows() {
    let mut world = World::of_samples(&[0..1000, 1000..1500], 300);
    world.projection = Schema::new(0, vec![]).unwrap();
    let batches = world.batches().await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1500);
    assert_eq!(batches[0].num_columns(), 0);
}

#[tokio::test]
async fn batches_end_at_the_rows_and_bytes_asked_for() {
    let mut world = World::of_samples(&[0..5000], 5000);
    world.options.batch_rows = 333;
    assert!(world.batches().await.unwrap().iter().all(|b| b.num_rows() <= 333));
    world.options = ReadOptions { batch_bytes: 2000, ..options() };
    let batches = world.batches().await.unwrap();
    assert!(batches.iter().all(|b| b.columns().iter().map(|c| fastdata_types::size::packed_bytes(c)).sum::<u64>() <= 2000));
    assert_eq!(concat_batches(&batches[0].schema(), &batches).unwrap(), all(&[0..5000]));
}

#[tokio::test]
async fn one_long_string_repeated_many_times_is_cut_before_it_is_packed() {
    let text = "b".repeat(65_536);
    let keys = Int32Array::from(vec![0; 20_000]);
    let array = arrow::array::DictionaryArray::<Int32Type>::new(keys, Arc::new(StringArray::from(vec![text.as_str()])));
    let (schema, _) = one_column(1, "s", PrimitiveType::String, Arc::new(StringArray::from(vec!["a"])));
    let field = ArrowField::new("s", array.data_type().clone(), true).with_metadata(with_ids(&schema).field(0).metadata().clone());
    let batch = RecordBatch::try_new(Arc::new(ArrowSchema::new(vec![field])), vec![Arc::new(array)]).unwrap();
    let bytes = parquet_bytes(&[batch], WriterProperties::default());
    for strings in [StringEncoding::Utf8, StringEncoding::Utf8View, StringEncoding::Dictionary] {
        let mut world = World::new(schema.clone());
        world.add(bytes.clone(), 20_000);
        world.budget = 32 << 20;
        world.options.strings = strings;
        let (mut stream, _, _) = world.open();
        let mut rows = 0;
        while let Some(batch) = stream.next().await {
            let batch = batch.unwrap();
            assert!(batch.get_array_memory_size() <= 9 << 20, "{}", batch.get_array_memory_size());
            rows += batch.num_rows();
        }
        assert_eq!(rows, 20_000);
    }
}
