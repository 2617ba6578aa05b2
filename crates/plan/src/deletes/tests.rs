use crate::testing::{EntrySpec, ListedManifest, PartitionColumn, TestTable, paths, spec};
use fastdata_types::plan::DeleteKind;
use fastdata_types::{ErrorKind, ScanPlan, Value};

const STRING_PARTITION: [PartitionColumn; 1] = [(1000, "p0", r#""string""#)];

/// The paths of the deletes that apply to a data file, sorted.
fn applied<'a>(plan: &'a ScanPlan, path: &str) -> Vec<&'a str> {
    let file = plan.files.iter().find(|file| file.path == path).unwrap();
    let deletes = &file.deletes;
    let all = deletes.positions.iter().chain(&deletes.equality).chain(&deletes.vector);
    let mut names: Vec<&str> = all.map(|at| plan.deletes[*at as usize].path.as_str()).collect();
    names.sort_unstable();
    names
}

fn listed(spec_id: i32, content: i64, sequence_number: i64) -> ListedManifest {
    ListedManifest { spec_id, content, sequence_number, added_snapshot_id: 1, ..Default::default() }
}

fn text(value: &str) -> Vec<Option<Value>> {
    vec![Some(Value::String(value.into()))]
}

#[tokio::test]
async fn equality_deletes_apply_to_smaller_and_position_deletes_to_smaller_or_equal_sequence_numbers() {
    let data = [EntrySpec::data("d1").existing(1), EntrySpec::data("d2").existing(2), EntrySpec::data("d3").existing(3)];
    let deletes = [EntrySpec::equality("eq2", &[1]).existing(2), EntrySpec::positions("pos2").existing(2)];
    let plan = TestTable::unpartitioned().data(9, &data).deletes(9, &deletes).plan(None).await.unwrap();
    assert_eq!(applied(&plan, "d1"), ["eq2", "pos2"]);
    assert_eq!(applied(&plan, "d2"), ["pos2"]);
    assert_eq!(applied(&plan, "d3"), [""; 0]);
    assert_eq!((plan.report.equality_delete_files, plan.report.position_delete_files), (1, 1));
}

/// The manifests of these tests carry a nonsensical `file_sequence_number` in every entry.
#[tokio::test]
async fn the_file_sequence_number_is_never_used() {
    let plan = TestTable::unpartitioned().data(5, &[EntrySpec::data("d")]).plan(None).await.unwrap();
    assert_eq!(plan.files[0].sequence_number, 5);
}

#[tokio::test]
async fn only_equality_deletes_under_an_unpartitioned_spec_are_global() {
    let table = |global_spec: &[(i32, &str)], columns: &[PartitionColumn], tuple: Vec<Option<Value>>| {
        TestTable::new(vec![spec(0, global_spec), spec(1, &[(2, "identity")])])
            .manifest(
                listed(1, 0, 1),
                &STRING_PARTITION,
                &[EntrySpec::data("a").partition(text("a")), EntrySpec::data("b").partition(text("b"))],
            )
            .manifest(
                listed(0, 1, 5),
                columns,
                &[EntrySpec::equality("global", &[1]).partition(tuple.clone()), EntrySpec::positions("pos").partition(tuple)],
            )
            .manifest(
                listed(1, 1, 5),
                &STRING_PARTITION,
                &[EntrySpec::equality("in-a", &[1]).partition(text("a")), EntrySpec::positions("pos-a").partition(text("a"))],
            )
    };
    for (global_spec, columns, tuple) in [(&[][..], &[][..], vec![]), (&[(2, "void")][..], &STRING_PARTITION[..], vec![None])] {
        let plan = table(global_spec, columns, tuple).plan(None).await.unwrap();
        assert_eq!(applied(&plan, "a"), ["global", "in-a", "pos-a"]);
        assert_eq!(applied(&plan, "b"), ["global"], "positions of another spec were applied");
        assert_eq!(plan.deletes.len(), 3, "a delete that applies to nothing was kept");
    }
    // A spec of another partition field with the same tuple is another partition.
    let plan = table(&[(2, "truncate[1]")], &STRING_PARTITION, text("a")).plan(None).await.unwrap();
    assert_eq!(applied(&plan, "a"), ["in-a", "pos-a"]);
}

#[tokio::test]
async fn tuples_of_unknown_transforms_are_compared_too() {
    let table = TestTable::new(vec![spec(0, &[(2, "quantum[3]")])])
        .manifest(
            listed(0, 0, 1),
            &STRING_PARTITION,
            &[EntrySpec::data("a").partition(text("a")), EntrySpec::data("b").partition(text("b"))],
        )
        .manifest(listed(0, 1, 5), &STRING_PARTITION, &[EntrySpec::equality("eq", &[1]).partition(text("a"))]);
    let plan = table.plan(None).await.unwrap();
    assert_eq!(applied(&plan, "a"), ["eq"]);
    assert_eq!(applied(&plan, "b"), [""; 0]);
}

#[tokio::test]
async fn a_null_or_nan_partition_is_a_partition_of_its_own() {
    let column: [PartitionColumn; 1] = [(1000, "p0", r#""double""#)];
    let of = |value: Option<f64>| vec![value.map(Value::Double)];
    let other_nan = f64::from_bits(f64::NAN.to_bits() | 1);
    let table = TestTable::new(vec![spec(0, &[(3, "identity")])])
        .manifest(
            listed(0, 0, 1),
            &column,
            &[
                EntrySpec::data("null").partition(of(None)),
                EntrySpec::data("nan").partition(of(Some(f64::NAN))),
                EntrySpec::data("zero").partition(of(Some(0.0))),
            ],
        )
        .manifest(
            listed(0, 1, 5),
            &column,
            &[EntrySpec::equality("eq-null", &[1]).partition(of(None)), EntrySpec::equality("eq-nan", &[1]).partition(of(Some(other_nan)))],
        );
    let plan = table.plan(None).await.unwrap();
    assert_eq!(applied(&plan, "null"), ["eq-null"]);
    assert_eq!(applied(&plan, "nan"), ["eq-nan"]);
    assert_eq!(applied(&plan, "zero"), [""; 0]);
}

#[tokio::test]
async fn an_applicable_vector_replaces_every_position_delete_of_its_file() {
    let data = [EntrySpec::data("d1"), EntrySpec::data("d2"), EntrySpec::data("d3").existing(7)];
    let for_d1 = EntrySpec { referenced: Some("d1".into()), ..EntrySpec::positions("pos-d1") };
    let deletes = [
        EntrySpec::positions("pos"),
        for_d1,
        EntrySpec::equality("eq", &[1]),
        EntrySpec::vector("puffin", 4, "d1"),
        EntrySpec::vector("puffin", 80, "d2"),
        EntrySpec::vector("late", 4, "d3").existing(6),
    ];
    let plan = TestTable::unpartitioned().data(1, &data).deletes(5, &deletes).plan(None).await.unwrap();
    assert_eq!(applied(&plan, "d1"), ["eq", "puffin"]);
    assert_eq!(applied(&plan, "d2"), ["eq", "puffin"]);
    assert_eq!(applied(&plan, "d3"), [""; 0], "a vector older than the data applied");
    // Many vectors share one Puffin file: each is a delete of its own.
    let offsets: Vec<u64> = plan
        .deletes
        .iter()
        .filter_map(|d| if let DeleteKind::Vector { content_offset, .. } = d.kind { Some(content_offset) } else { None })
        .collect();
    assert_eq!(offsets, [4, 80]);
    assert_eq!(plan.report.deletion_vectors, 2);
}

#[tokio::test]
async fn two_vectors_for_one_file_are_corrupt() {
    let deletes = [EntrySpec::vector("p1", 4, "s3://b/d1"), EntrySpec::vector("p2", 4, "s3a://b/d1")];
    let error = TestTable::unpartitioned().data(1, &[EntrySpec::data("s3://b/d1")]).deletes(5, &deletes).plan(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[tokio::test]
async fn a_file_scoped_delete_in_another_partition_is_corrupt() {
    let in_b = |delete: EntrySpec| delete.partition(text("b"));
    let positions = EntrySpec { referenced: Some("d".into()), ..EntrySpec::positions("pos") };
    for delete in [in_b(positions), in_b(EntrySpec::vector("puffin", 4, "d"))] {
        let table = TestTable::new(vec![spec(0, &[(2, "identity")])])
            .manifest(listed(0, 0, 1), &STRING_PARTITION, &[EntrySpec::data("d").partition(text("a"))])
            .manifest(listed(0, 1, 5), &STRING_PARTITION, &[delete]);
        let error = table.plan(None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.message().contains("another partition"), "{error}");
    }
}

#[tokio::test]
async fn a_position_delete_file_is_file_scoped_by_reference_or_by_equal_path_bounds() {
    let path_id = fastdata_types::schema::metadata_column::DELETE_FILE_PATH;
    let path = |text: &str| Value::String(text.into());
    let deletes = [
        EntrySpec { referenced: Some("d1".into()), ..EntrySpec::positions("by-reference") },
        EntrySpec::positions("by-bounds").bounds(path_id, &path("d2"), &path("d2")),
        EntrySpec::positions("by-partition").bounds(path_id, &path("d1"), &path("d2")),
        EntrySpec::positions("no-bounds"),
    ];
    let data = [EntrySpec::data("d1"), EntrySpec::data("d2"), EntrySpec::data("d3")];
    let plan = TestTable::unpartitioned().data(1, &data).deletes(5, &deletes).plan(None).await.unwrap();
    assert_eq!(applied(&plan, "d1"), ["by-partition", "by-reference", "no-bounds"]);
    assert_eq!(applied(&plan, "d2"), ["by-bounds", "by-partition", "no-bounds"]);
    assert_eq!(applied(&plan, "d3"), ["by-partition", "no-bounds"]);
}

#[tokio::test]
async fn paths_of_deletes_and_data_files_are_compared_in_one_spelling() {
    let deletes =
        [EntrySpec { referenced: Some("s3a://b/x".into()), ..EntrySpec::positions("pos") }, EntrySpec::vector("puffin", 4, "s3://b/y")];
    let data = [EntrySpec::data("s3://b/x"), EntrySpec::data("s3a://b/y")];
    let plan = TestTable::unpartitioned().data(1, &data).deletes(5, &deletes).plan(None).await.unwrap();
    assert_eq!(applied(&plan, "s3://b/x"), ["pos"]);
    assert_eq!(applied(&plan, "s3a://b/y"), ["puffin"]);
    assert_eq!(paths(&plan), ["s3://b/x", "s3a://b/y"], "paths were not kept as they stand");
}

#[tokio::test]
async fn delete_files_that_cannot_be_read_are_refused_by_name_and_never_skipped() {
    for (delete, feature) in [
        (EntrySpec { format: "ORC", ..EntrySpec::positions("del") }, "orc"),
        (EntrySpec { format: "AVRO", ..EntrySpec::equality("del", &[1]) }, "avro"),
        (EntrySpec { key_metadata: Some(vec![1]), ..EntrySpec::positions("del") }, "encrypted"),
    ] {
        let error = TestTable::unpartitioned().data(1, &[EntrySpec::data("d")]).deletes(5, &[delete]).plan(None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("'del'") && error.message().contains(feature), "{error}");
    }
    let odd = EntrySpec { content: 3, ..EntrySpec::data("odd") };
    let error = TestTable::unpartitioned().data(1, &[EntrySpec::data("d")]).deletes(5, &[odd]).plan(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let nameless = EntrySpec { equality_ids: None, ..EntrySpec::equality("del", &[]) };
    let error = TestTable::unpartitioned().data(1, &[EntrySpec::data("d")]).deletes(5, &[nameless]).plan(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[tokio::test]
async fn deleted_entries_of_delete_manifests_are_not_live() {
    let gone = EntrySpec { status: 2, ..EntrySpec::equality("gone", &[1]) };
    let plan = TestTable::unpartitioned().data(1, &[EntrySpec::data("d")]).deletes(5, &[gone]).plan(None).await.unwrap();
    assert!(plan.deletes.is_empty());
}

/// A delete manifest is skipped only where every data file that it could touch is pruned as well.
#[tokio::test]
async fn delete_manifests_are_skipped_only_with_their_data() {
    let a = Some("a".as_bytes().to_vec());
    let summary = |spec_id: i32, content: i64| ListedManifest {
        partitions: Some(vec![(false, None, a.clone(), a.clone())]),
        ..listed(spec_id, content, 5)
    };
    let table = TestTable::new(vec![spec(0, &[]), spec(1, &[(2, "identity")])])
        .manifest(
            listed(1, 0, 1),
            &STRING_PARTITION,
            &[EntrySpec::data("a").partition(text("a")), EntrySpec::data("b").partition(text("b"))],
        )
        .manifest(summary(1, 1), &STRING_PARTITION, &[EntrySpec::equality("eq-a", &[1]).partition(text("a"))])
        .manifest(listed(0, 1, 5), &[], &[EntrySpec::equality("global", &[1])]);
    let name_is_b = crate::testing::compare(
        crate::testing::column(2, fastdata_types::schema::PrimitiveType::String),
        fastdata_types::expr::CompareOp::Eq,
        crate::testing::literal(Value::String("b".into())),
    );
    let plan = table.plan(Some(name_is_b)).await.unwrap();
    assert_eq!(paths(&plan), ["b"]);
    assert_eq!(applied(&plan, "b"), ["global"]);
    assert_eq!((plan.report.delete_manifests_total, plan.report.delete_manifests_read), (2, 1));
}

#[tokio::test]
async fn matching_is_near_linear() {
    let columns: [PartitionColumn; 1] = [(1000, "p0", r#""long""#)];
    let partition = |n: i64| vec![Some(Value::Long(n % 1000))];
    let data: Vec<EntrySpec> = (0..20_000).map(|n| EntrySpec::data(&format!("d{n}")).partition(partition(n))).collect();
    let deletes: Vec<EntrySpec> = (0..10_000)
        .map(|n| match n % 2 {
            0 => EntrySpec { referenced: Some(format!("d{n}")), ..EntrySpec::positions(&format!("p{n}")).partition(partition(n)) },
            _ => EntrySpec::equality(&format!("e{n}"), &[1]).partition(partition(n)),
        })
        .collect();
    let table = TestTable::new(vec![spec(0, &[(1, "identity")])]).manifest(listed(0, 0, 1), &columns, &data).manifest(
        listed(0, 1, 2),
        &columns,
        &deletes,
    );
    let started = std::time::Instant::now();
    let plan = table.plan(None).await.unwrap();
    // Pairs tried one by one would be 200 million.
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    assert_eq!(plan.deletes.len(), 10_000);
    assert_eq!(plan.files.iter().map(|f| f.deletes.positions.len()).sum::<usize>(), 5_000);
    // Ten equality deletes in each of 500 partitions of twenty files.
    assert_eq!(plan.files.iter().map(|f| f.deletes.equality.len()).sum::<usize>(), 100_000);
}
