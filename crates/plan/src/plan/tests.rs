use crate::testing::{EntrySpec, ListedManifest, PartitionColumn, TestTable, compare, id_is, plan, spec};
use fastdata_types::expr::CompareOp;
use fastdata_types::metadata::NameMapping;
use fastdata_types::{ScanRequest, Value};
use std::sync::Arc;
use std::time::Instant;

/// A file as engines write it: a partition, bounds and counts of sixteen columns, split offsets.
fn realistic(n: i64) -> EntrySpec {
    let path =
        format!("s3://bucket/warehouse/db.db/table/data/day={}/00000-{n}-0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0-00001.parquet", n / 100);
    let mut entry = EntrySpec::data(&path).partition(vec![Some(Value::Date((n / 100) as i32))]).bounds(
        1,
        &Value::Long(n * 10),
        &Value::Long(n * 10 + 9),
    );
    for id in 2..=16 {
        entry = entry.bounds(id, &Value::String("aaaaaaaaaaaaaaaa".into()), &Value::String("zzzzzzzzzzzzzzzz".into()));
    }
    for id in 1..=16 {
        entry.value_counts.insert(id, 10);
        entry.null_counts.insert(id, 0);
    }
    entry.split_offsets = Some(vec![4, 500]);
    entry
}

#[tokio::test]
async fn a_file_is_kept_where_the_name_mapping_leaves_the_filters_column_out() {
    for (mapping, files) in [(None, 0), (Some(NameMapping { fields: vec![] }), 1)] {
        let mut table = TestTable::unpartitioned().data(1, &[EntrySpec::data("f").bounds(1, &Value::Long(10), &Value::Long(20))]);
        table.metadata.name_mapping = mapping.map(Arc::new);
        assert_eq!(table.plan(Some(id_is(CompareOp::Eq, 99))).await.unwrap().files.len(), files);
    }
}

/// Not a test: `FASTDATA_PLAN_SPEED=1` measures planning of that many thousand files. Run it pinned to one core.
#[tokio::test]
async fn measure_planning() {
    let Ok(thousands) = std::env::var("FASTDATA_PLAN_SPEED") else { return };
    let thousands: i64 = thousands.parse().unwrap();
    let column: [PartitionColumn; 1] = [(1000, "d", r#"{"type":"int","logicalType":"date"}"#)];
    let mut table = TestTable::new(vec![spec(0, &[(4, "identity")])]);
    for at in 0..thousands {
        let entries: Vec<EntrySpec> = (at * 1000..(at + 1) * 1000).map(realistic).collect();
        let days = [at * 10, at * 10 + 9].map(|d| Some((d as i32).to_le_bytes().to_vec()));
        let [lower, upper] = days;
        let listed = ListedManifest {
            sequence_number: 1,
            added_snapshot_id: 1,
            partitions: Some(vec![(false, None, lower, upper)]),
            ..Default::default()
        };
        table = table.manifest(listed, &column, &entries);
    }
    let bytes: usize = table.store.objects.values().map(|o| o.len()).sum();
    let state = table.state();
    let day = |days: i32| {
        let column = crate::testing::column(4, fastdata_types::schema::PrimitiveType::Date);
        compare(column, CompareOp::GtEq, crate::testing::literal(Value::Date(days)))
    };
    let last = thousands as i32 * 10;
    let cases = [
        ("no filter", None),
        ("bounds", Some(id_is(CompareOp::GtEq, thousands * 9_990))),
        ("every tuple", Some(day(0))),
        ("last manifest", Some(day(last - 10))),
    ];
    for (what, filter) in cases {
        for _ in 0..3 {
            let started = Instant::now();
            let plan = plan(Arc::clone(&state), &ScanRequest::table("t"), filter.clone()).await.unwrap();
            eprintln!(
                "{what}: {} of {} files, {} blocks, {:?} ({bytes} bytes of manifests)",
                plan.files.len(),
                thousands * 1000,
                plan.blocks.len(),
                started.elapsed()
            );
        }
    }
}
