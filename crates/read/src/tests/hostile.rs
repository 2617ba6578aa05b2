//! Damaged and hostile files: an error that names the file, or the right number of rows; never a panic, a hang or a short success.

use super::*;
use parquet::basic::Compression;
use std::time::Duration;

async fn within_time(world: &World) -> Result<RecordBatch> {
    tokio::time::timeout(Duration::from_secs(60), world.rows()).await.expect("the scan hangs")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_an_error_that_names_it_or_has_all_its_rows() {
    let codecs = [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(Default::default()), Compression::LZ4_RAW];
    for (round, codec) in codecs.into_iter().enumerate() {
        for version in [parquet::file::properties::WriterVersion::PARQUET_1_0, parquet::file::properties::WriterVersion::PARQUET_2_0] {
            let properties =
                WriterProperties::builder().set_compression(codec).set_writer_version(version).set_data_page_row_count_limit(40);
            let bytes = parquet_bytes(&[sample(0..100)], properties.build());
            for at in (round..bytes.len()).step_by(7) {
                for flip in [0xff, 0x01, 0x80] {
                    let mut world = World::new(sample_schema());
                    let mut hurt = bytes.clone();
                    hurt[at] ^= flip;
                    world.add(hurt, 100);
                    world.budget = 8 << 20;
                    match within_time(&world).await {
                        Ok(rows) => assert_eq!(rows.num_rows(), 100, "byte {at} ^ {flip:#x}"),
                        Err(error) => assert!(error.message().contains("data/0.parquet"), "byte {at} ^ {flip:#x}: {error}"),
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn a_cut_file_is_an_error() {
    let bytes = parquet_bytes(&[sample(0..1000)], WriterProperties::default());
    for keep in [0, 3, 8, 100, bytes.len() / 2, bytes.len() - 1] {
        let mut world = World::new(sample_schema());
        world.add(bytes[..keep].to_vec(), 1000);
        let error = within_time(&world).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("data/0.parquet"), "{error}");
    }
}

#[tokio::test]
async fn the_first_error_ends_the_stream() {
    let mut world = World::of_samples(&[0..100, 100..200, 200..300], 50);
    world.objects.remove(1);
    let (mut stream, context, _) = world.open();
    let mut rows = 0;
    let error = loop {
        match stream.next().await.unwrap() {
            Ok(batch) => rows += batch.num_rows(),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), rows), (ErrorKind::MissingFile, 100));
    assert!(stream.next().await.is_none());
    settled(&context).await;
}

#[tokio::test]
async fn a_cell_larger_than_the_budget_is_refused_before_it_is_inflated() {
    let cell = "a".repeat(64 << 20);
    let (schema, batch) = one_column(1, "s", PrimitiveType::String, Arc::new(StringArray::from(vec![cell.as_str()])));
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(Default::default())).set_dictionary_enabled(false);
    let mut world = World::new(schema);
    world.add(parquet_bytes(&[batch], properties.build()), 1);
    world.budget = 32 << 20;
    let error = within_time(&world).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BudgetTooSmall);
    world.budget = 512 << 20;
    assert_eq!(within_time(&world).await.unwrap().num_rows(), 1);
}

#[tokio::test]
async fn other_formats_and_encrypted_files_are_refused_before_the_first_row() {
    for spoil in [|f: &mut DataFile| f.format = FileFormat::Orc, |f: &mut DataFile| f.encrypted = true] {
        let mut world = World::of_samples(&[0..100, 100..200], 50);
        spoil(&mut world.files[1]);
        let error = read(world.plan().0, options(), world.context()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("data/1.parquet"), "{error}");
    }
}
