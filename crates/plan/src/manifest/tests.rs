use crate::testing::{EntrySpec, ListedManifest, PartitionColumn, TestTable, id_is, manifest, manifest_list, paths, plan, snapshot, spec};
use fastdata_types::expr::CompareOp;
use fastdata_types::metadata::ManifestSource;
use fastdata_types::plan::Block;
use fastdata_types::request::Sample;
use fastdata_types::{ErrorKind, ScanRequest, Value};
use std::sync::Arc;

fn listed(sequence_number: i64) -> ListedManifest {
    ListedManifest { sequence_number, added_snapshot_id: 1, ..Default::default() }
}

#[tokio::test]
async fn null_sequence_numbers_inherit_only_for_added_entries() {
    let plan =
        TestTable::unpartitioned().data(7, &[EntrySpec::data("added"), EntrySpec::data("kept").existing(3)]).plan(None).await.unwrap();
    let of = |path: &str| plan.files.iter().find(|f| f.path == path).unwrap().sequence_number;
    assert_eq!((of("added"), of("kept")), (7, 3));
    let existing = EntrySpec { status: 0, ..EntrySpec::data("kept") };
    let error = TestTable::unpartitioned().data(7, std::slice::from_ref(&existing)).plan(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    // Version 1 has no sequence numbers: all are 0.
    let plan = TestTable::unpartitioned().data(0, &[existing]).plan(None).await.unwrap();
    assert_eq!(plan.files[0].sequence_number, 0);
}

/// Spec "Manifest Entry Fields". An incremental scan is where it shows: only what the snapshot itself added counts.
#[tokio::test]
async fn a_null_snapshot_id_inherits_the_one_that_added_the_manifest() {
    let entries = [
        EntrySpec { snapshot_id: None, ..EntrySpec::data("inherits") },
        EntrySpec { snapshot_id: Some(2), ..EntrySpec::data("own") },
        EntrySpec { snapshot_id: Some(1), ..EntrySpec::data("another") },
    ];
    let mut table = TestTable::unpartitioned();
    table.metadata = crate::testing::metadata(
        crate::testing::schema(),
        vec![spec(0, &[])],
        vec![snapshot(1, None, "append"), snapshot(2, Some(1), "append")],
    );
    let listed = ListedManifest { path: "m".into(), added_snapshot_id: 2, sequence_number: 2, ..Default::default() };
    table.store.objects.insert("list-1".into(), manifest_list(&[]).into());
    table.store.objects.insert("list-2".into(), manifest_list(&[listed]).into());
    table.store.objects.insert("m".into(), manifest(&[], &entries).into());
    let request = ScanRequest { from_snapshot_id: Some(1), ..ScanRequest::table("t") };
    assert_eq!(paths(&plan(table.state(), &request, None).await.unwrap()), ["inherits", "own"]);
}

#[tokio::test]
async fn deleted_entries_are_never_live() {
    let gone = EntrySpec { status: 2, ..EntrySpec::data("gone") };
    let plan = TestTable::unpartitioned().data(1, &[gone, EntrySpec::data("live")]).plan(None).await.unwrap();
    assert_eq!(paths(&plan), ["live"]);
    assert_eq!(plan.report.files_considered, 1);
}

#[tokio::test]
async fn null_counts_mean_not_zero_and_zero_counts_skip_the_manifest() {
    let table = |counts: Option<(i64, i64)>| {
        TestTable::unpartitioned().manifest(
            ListedManifest { counts, ..listed(1) },
            &[],
            &[EntrySpec::data("a"), EntrySpec { status: 2, ..EntrySpec::data("b") }],
        )
    };
    assert_eq!(table(None).plan(None).await.unwrap().files.len(), 1);
    assert_eq!(table(Some((1, 0))).plan(None).await.unwrap().files.len(), 1);
    let plan = table(Some((0, 0))).plan(None).await.unwrap();
    assert_eq!((plan.files.len(), plan.report.manifests_total, plan.report.manifests_read), (0, 1, 0));
}

/// Cut exactly between two blocks, a manifest is still an Avro file.
#[tokio::test]
async fn a_manifest_with_fewer_files_than_its_list_says_is_corrupt() {
    let table = TestTable::unpartitioned().manifest(ListedManifest { counts: Some((2, 0)), ..listed(1) }, &[], &[EntrySpec::data("a")]);
    let error = table.plan(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("m0"), "{error}");
}

#[tokio::test]
async fn row_ids_are_inherited_in_file_order_before_any_pruning_and_skip_deleted_entries() {
    let with = |path: &str, count: i64, id: i64| EntrySpec {
        record_count: count,
        ..EntrySpec::data(path).bounds(1, &Value::Long(id), &Value::Long(id))
    };
    let entries = [
        with("a", 10, 1),
        EntrySpec { status: 2, ..with("deleted", 1000, 2) },
        EntrySpec { first_row_id: Some(5), ..with("own", 100, 3) },
        with("b", 20, 4),
        with("c", 30, 5),
    ];
    let table = || TestTable::unpartitioned().manifest(ListedManifest { first_row_id: Some(500), ..listed(1) }, &[], &entries);
    let ids = |plan: &fastdata_types::ScanPlan| plan.files.iter().map(|f| (f.path.clone(), f.first_row_id)).collect::<Vec<_>>();
    let all = table().plan(None).await.unwrap();
    assert_eq!(ids(&all), [("a".into(), Some(500)), ("b".into(), Some(510)), ("c".into(), Some(530)), ("own".into(), Some(5))]);
    let pruned = table().plan(Some(id_is(CompareOp::GtEq, 5))).await.unwrap();
    assert_eq!(ids(&pruned), [("c".into(), Some(530))]);
    let none = TestTable::unpartitioned().data(1, &entries).plan(None).await.unwrap();
    assert_eq!(none.files.iter().map(|f| f.first_row_id).collect::<Vec<_>>(), [None, None, None, Some(5)]);
    let overflow = TestTable::unpartitioned().manifest(ListedManifest { first_row_id: Some(i64::MAX), ..listed(1) }, &[], &entries);
    assert_eq!(overflow.plan(None).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn pruned_manifests_are_never_opened() {
    let summary = |low: i64, high: i64| ListedManifest {
        partitions: Some(vec![(false, None, Some(low.to_le_bytes().to_vec()), Some(high.to_le_bytes().to_vec()))]),
        ..listed(1)
    };
    let column: [PartitionColumn; 1] = [(1000, "p0", r#""long""#)];
    let file = |path: &str, id: i64| EntrySpec::data(path).partition(vec![Some(Value::Long(id))]);
    let state = TestTable::new(vec![spec(0, &[(1, "identity")])])
        .manifest(summary(1, 9), &column, &[file("a", 1), file("b", 9)])
        .manifest(summary(10, 19), &column, &[file("c", 10)])
        .state();
    let plan = plan(Arc::clone(&state), &ScanRequest::table("t"), Some(id_is(CompareOp::Lt, 9))).await.unwrap();
    assert_eq!(paths(&plan), ["a"]);
    let report = &plan.report;
    assert_eq!((report.manifests_total, report.manifests_read, report.manifests_pruned_by_summary), (2, 1, 1));
    assert_eq!((report.files_considered, report.files_pruned_by_partition, report.files), (2, 1, 1));
    let debug = format!("{:?}", state.store);
    assert!(debug.contains(r#"opened: Mutex { data: ["list-1", "m0"]"#), "{}", debug.split("opened").last().unwrap());
}

#[tokio::test]
async fn a_manifest_listed_ten_thousand_times_counts_as_listed() {
    let mut table = TestTable::unpartitioned().data(1, &[EntrySpec::data("a"), EntrySpec::data("b")]);
    table.manifests = vec![table.manifests[0].clone(); 10_000];
    let plan = table.plan(None).await.unwrap();
    assert_eq!(plan.files.len(), 20_000);
    assert_eq!(plan.blocks.len(), 20_000);
}

#[tokio::test]
async fn inline_manifests_of_version_1_are_read() {
    let mut table = TestTable::unpartitioned();
    table.store.objects.insert("inline".into(), manifest(&[], &[EntrySpec { snapshot_id: Some(1), ..EntrySpec::data("a") }]).into());
    let mut first = snapshot(1, None, "append");
    first.manifests = ManifestSource::Inline(vec!["inline".into()]);
    table.metadata.snapshots = vec![Arc::new(first)];
    let state = table.state();
    assert_eq!(paths(&plan(Arc::clone(&state), &ScanRequest::table("t"), None).await.unwrap()), ["a"]);
    let appended = ScanRequest { from_snapshot_id: Some(1), ..ScanRequest::table("t") };
    assert!(plan(state, &appended, None).await.unwrap().files.is_empty());
}

#[tokio::test]
async fn an_incremental_scan_takes_what_appends_added_and_no_deletes() {
    let mut table = TestTable::unpartitioned();
    table.metadata = crate::testing::metadata(
        crate::testing::schema(),
        vec![spec(0, &[])],
        vec![
            snapshot(1, None, "append"),
            snapshot(2, Some(1), "append"),
            snapshot(3, Some(2), "overwrite"),
            snapshot(4, Some(3), "append"),
        ],
    );
    let by = |id: i64, path: &str, content: i64| ListedManifest {
        path: path.into(),
        added_snapshot_id: id,
        sequence_number: id,
        content,
        ..Default::default()
    };
    let lists = [
        vec![by(1, "m1", 0)],
        vec![by(1, "m1", 0), by(2, "m2", 0)],
        vec![by(3, "m3", 0), by(3, "del", 1)],
        vec![by(3, "m3", 0), by(3, "del", 1), by(4, "m4", 0)],
    ];
    for (id, list) in (1..).zip(lists) {
        table.store.objects.insert(format!("list-{id}"), manifest_list(&list).into());
    }
    let kept = EntrySpec { snapshot_id: Some(1), ..EntrySpec::data("f1").existing(1) };
    let objects: [(&str, Vec<EntrySpec>); 5] = [
        ("m1", vec![EntrySpec::data("f1")]),
        ("m2", vec![EntrySpec::data("f2"), kept.clone()]),
        ("m3", vec![EntrySpec::data("f3")]),
        (
            "m4",
            vec![
                EntrySpec { snapshot_id: Some(4), ..EntrySpec::data("f4") },
                EntrySpec { snapshot_id: Some(3), ..EntrySpec::data("other") },
                EntrySpec { status: 2, ..kept },
            ],
        ),
        ("del", vec![EntrySpec::equality("eq", &[1])]),
    ];
    for (path, entries) in objects {
        table.store.objects.insert(path.into(), manifest(&[], &entries).into());
    }
    let state = table.state();
    let request = |from: i64, to: i64| ScanRequest { from_snapshot_id: Some(from), to_snapshot_id: Some(to), ..ScanRequest::table("t") };
    let appended = plan(Arc::clone(&state), &request(1, 4), None).await.unwrap();
    assert_eq!(paths(&appended), ["f2", "f4"]);
    assert!(appended.deletes.is_empty());
    assert_eq!(appended.report.skipped_snapshots, [(3, "overwrite".to_owned())]);
    assert_eq!(appended.report.notes.len(), 1);
    assert_eq!(paths(&plan(state, &request(2, 3), None).await.unwrap()), [""; 0]);
}

/// Spec "Partition Transforms": the result of `day` is an int, which writers annotate as a date or do not.
#[tokio::test]
async fn days_of_a_partition_are_stored_as_int_or_date_and_prune_alike() {
    for ty in [r#""int""#, r#"{"type":"int","logicalType":"date"}"#] {
        let column: [PartitionColumn; 1] = [(1000, "p0", ty)];
        let file = |path: &str, day: i32| EntrySpec::data(path).partition(vec![Some(Value::Date(day))]);
        let state = || {
            let table = TestTable::new(vec![spec(0, &[(4, "day")])]);
            table.manifest(listed(1), &column, &[file("a", 3), file("b", 9)]).state()
        };
        let all = plan(state(), &ScanRequest::table("t"), None).await.unwrap();
        assert_eq!(all.files.iter().map(|f| f.partition[0].clone()).collect::<Vec<_>>(), [Some(Value::Date(3)), Some(Value::Date(9))]);
        let day = crate::testing::column(4, fastdata_types::PrimitiveType::Date);
        let filter = crate::testing::compare(day, CompareOp::GtEq, crate::testing::literal(Value::Date(9)));
        assert_eq!(paths(&plan(state(), &ScanRequest::table("t"), Some(filter)).await.unwrap()), ["b"], "{ty}");
    }
}

#[tokio::test]
async fn partition_tuples_are_typed_through_the_manifests_own_spec() {
    // The same field as an int, as a date, and without a field id under a name that Avro does not allow.
    let specs = vec![spec(0, &[(4, "day")]), spec(1, &[(4, "identity"), (1, "bucket[4]")])];
    let mut odd = spec(2, &[(2, "identity")]);
    odd.fields[0].name = "na me".into();
    odd.fields[0].field_id = 1007;
    let mut specs = specs;
    specs.push(odd);
    let date = r#"{"type":"int","logicalType":"date"}"#;
    let in_spec = |spec_id: i32| ListedManifest { spec_id, ..listed(1) };
    let mut table = TestTable::new(specs)
        .manifest(in_spec(0), &[(1000, "d", r#""int""#)], &[EntrySpec::data("a").partition(vec![Some(Value::Date(-1))])])
        .manifest(in_spec(0), &[(1000, "d", date)], &[EntrySpec::data("b").partition(vec![Some(Value::Date(-1))])])
        // Fields in another order than the spec's, one of them unknown to it.
        .manifest(
            in_spec(1),
            &[(1005, "x", r#""string""#), (1001, "p1", r#""int""#), (1000, "p0", date)],
            &[EntrySpec::data("c").partition(vec![Some(Value::String("?".into())), Some(Value::Int(3)), None])],
        )
        .manifest(
            in_spec(2),
            &[(1007, "na_x20me", r#""string""#)],
            &[EntrySpec::data("d").partition(vec![Some(Value::String("v".into()))])],
        );
    let nameless = crate::testing::manifest_schema(&[(1007, "na_x20me", r#""string""#)]).replace(r#","field-id":1007"#, "");
    let mut block = Vec::new();
    crate::testing::entry(&mut block, &EntrySpec::data("e").partition(vec![Some(Value::String("w".into()))]));
    let without_ids = crate::testing::container(&nameless, "null", &[], &[(1, block)]);
    table = table.manifest(in_spec(2), &[], &[]);
    table.store.objects.insert("m4".into(), without_ids.into());
    let plan = table.plan(None).await.unwrap();
    let tuple = |path: &str| plan.files.iter().find(|f| f.path == path).map(|f| (*f.partition).clone()).unwrap();
    assert_eq!(tuple("a"), [Some(Value::Date(-1))]);
    assert_eq!(tuple("b"), [Some(Value::Date(-1))]);
    assert_eq!(tuple("c"), [None, Some(Value::Int(3))]);
    assert_eq!(tuple("d"), [Some(Value::String("v".into()))]);
    assert_eq!(tuple("e"), [Some(Value::String("w".into()))]);
}

#[tokio::test]
async fn a_partition_value_of_another_type_is_corrupt_and_so_is_a_spec_that_the_table_does_not_have() {
    let wrong = TestTable::new(vec![spec(0, &[(1, "identity")])]).manifest(
        listed(1),
        &[(1000, "p0", r#""string""#)],
        &[EntrySpec::data("a").partition(vec![Some(Value::String("x".into()))])],
    );
    let error = wrong.plan(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");

    let mut block = Vec::new();
    crate::testing::entry(&mut block, &EntrySpec::data("a").partition(vec![Some(Value::Long(5))]));
    let schema = crate::testing::manifest_schema(&[(1000, "p0", r#""long""#)]);
    let header = r#"[{"name":"p0","transform":"identity","source-id":1,"field-id":1000}]"#;
    // Identity values and what a global delete is are asked of the table: a spec of the header alone would be forgotten there.
    for headers in [vec![("partition-spec", header), ("partition-spec-id", "6")], vec![]] {
        let mut table = TestTable::unpartitioned().manifest(ListedManifest { spec_id: 6, ..listed(1) }, &[], &[]);
        table.store.objects.insert("m0".into(), crate::testing::container(&schema, "null", &headers, &[(1, block.clone())]).into());
        let error = table.plan(None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(["'ns.t'", "'m0'", "spec 6"].iter().all(|part| error.message().contains(part)), "{error}");
    }
}

#[tokio::test]
async fn data_files_that_cannot_be_read_are_refused_by_table_file_and_feature_unless_pruned() {
    let entries = [
        (EntrySpec { format: "ORC", ..EntrySpec::data("f") }, "orc"),
        (EntrySpec { format: "avro", ..EntrySpec::data("f") }, "avro"),
        (EntrySpec { format: "EVIL", ..EntrySpec::data("f") }, "EVIL"),
        (EntrySpec { key_metadata: Some(vec![9]), ..EntrySpec::data("f") }, "encrypted"),
    ];
    for (entry, feature) in entries {
        let entry = entry.bounds(1, &Value::Long(1), &Value::Long(2));
        let error = TestTable::unpartitioned().data(1, std::slice::from_ref(&entry)).plan(None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(["ns.t", "'f'", feature].iter().all(|part| error.message().contains(part)), "{error}");
        let plan = TestTable::unpartitioned().data(1, &[entry]).plan(Some(id_is(CompareOp::Gt, 5))).await.unwrap();
        assert!(plan.files.is_empty());
    }
    let empty_key = EntrySpec { key_metadata: Some(vec![]), ..EntrySpec::data("f") };
    assert!(TestTable::unpartitioned().data(1, &[empty_key]).plan(None).await.is_ok());
}

/// Told by the snapshot's key, by the manifest's key metadata in its list, or only by the file's first bytes.
#[tokio::test]
async fn encrypted_manifest_lists_and_manifests_are_refused_by_table_file_and_feature() {
    let table = || TestTable::unpartitioned().data(1, &[EntrySpec::data("f")]);
    let with_key = |table: &mut TestTable, key: &[u8]| table.manifests[0].key_metadata = Some(key.to_vec());
    let with_object =
        |table: &mut TestTable, path: &str| drop(table.store.objects.insert(path.into(), (&b"AGS1\0\0\x10\0rest"[..]).into()));
    let mut keyed_list = table();
    let mut first = snapshot(1, None, "append");
    first.key_id = Some("k".into());
    keyed_list.metadata.snapshots = vec![Arc::new(first)];
    let (mut keyed, mut list, mut opaque) = (table(), table(), table());
    with_key(&mut keyed, &[9]);
    with_object(&mut list, "list-1");
    with_object(&mut opaque, "m0");
    for (table, file, opens) in [(keyed_list, "'list-1'", 0), (list, "'list-1'", 1), (keyed, "'m0'", 1), (opaque, "'m0'", 2)] {
        let state = table.state();
        let error = plan(Arc::clone(&state), &ScanRequest::table("t"), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(["table 'ns.t'", file, "encrypted"].iter().all(|part| error.message().contains(part)), "{error}");
        let opened = format!("{:?}", state.store).matches("\"list-1\", \"m0\"").count();
        assert_eq!(opened, usize::from(opens == 2), "{:?}", state.store);
    }
    let mut empty_key = table();
    with_key(&mut empty_key, &[]);
    assert_eq!(empty_key.plan(None).await.unwrap().files.len(), 1);
}

#[tokio::test]
async fn numbers_that_cannot_be_are_corrupt_and_locations_outside_the_policy_are_refused() {
    for entry in [
        EntrySpec { record_count: -5, ..EntrySpec::data("f") },
        EntrySpec { file_size: -1, ..EntrySpec::data("f") },
        EntrySpec { file_size: 0, ..EntrySpec::data("f") },
    ] {
        assert_eq!(TestTable::unpartitioned().data(1, &[entry]).plan(None).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let table = TestTable::unpartitioned().data(1, &[EntrySpec { file_size: 1 << 62, ..EntrySpec::data("f") }]);
    assert_eq!(table.plan(None).await.unwrap().blocks[0], Block::bytes(0, 0, 1 << 62));
    let error = TestTable::unpartitioned().data(1, &[EntrySpec::data("secret/x")]).plan(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LocationNotAllowed);
    let mut elsewhere = TestTable::unpartitioned().data(1, &[EntrySpec::data("f")]);
    elsewhere.metadata.location = "secret/t".into();
    let error = elsewhere.plan(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LocationNotAllowed);
    assert!(error.message().starts_with("the table's own location"), "{error}");
    let missing =
        TestTable { manifests: vec![ListedManifest { path: "nowhere".into(), ..Default::default() }], ..TestTable::unpartitioned() };
    assert_eq!(missing.plan(None).await.unwrap_err().kind(), ErrorKind::MissingFile);
}

#[tokio::test]
async fn entries_of_the_wrong_kind_are_corrupt() {
    let table = TestTable::unpartitioned().data(1, &[EntrySpec::equality("e", &[1])]);
    assert_eq!(table.plan(None).await.unwrap_err().kind(), ErrorKind::Corrupt);
    let table = TestTable::unpartitioned().data(1, &[EntrySpec::data("d")]).deletes(2, &[EntrySpec::data("d")]);
    assert_eq!(table.plan(None).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn blocks_come_in_table_order_and_odd_paths_stay_as_they_are() {
    let odd = "s3://b/a//b%20c/ä b=%3A.parquet";
    let entries = [
        EntrySpec { split_offsets: Some(vec![4, 500]), ..EntrySpec::data("z").existing(1) },
        EntrySpec { split_offsets: Some(vec![4, 5000]), ..EntrySpec::data("b").existing(2) },
        EntrySpec::data(odd).existing(2),
        EntrySpec::data("a").existing(2),
    ];
    let plan = TestTable::unpartitioned().data(3, &entries).plan(None).await.unwrap();
    assert_eq!(paths(&plan), ["z", "a", "b", odd]);
    let blocks = [(0, 0, 500), (0, 500, 1000), (1, 0, 1000), (2, 0, 1000), (3, 0, 1000)];
    assert_eq!(plan.blocks, blocks.map(|(file, start, end)| Block::bytes(file, start, end)));
    assert_eq!((plan.report.row_groups_estimated, plan.report.bytes, plan.report.rows_estimated), (5, 4000, 40));
}

#[tokio::test]
async fn a_sample_plans_fewer_blocks_of_the_same_files() {
    let entries: Vec<EntrySpec> = (0..200).map(|n| EntrySpec::data(&format!("f{n:03}"))).collect();
    let state = TestTable::unpartitioned().data(3, &entries).state();
    let request = |seed: u64| ScanRequest { sample: Some(Sample { fraction: 0.5, seed }), ..ScanRequest::table("t") };
    let first = plan(Arc::clone(&state), &request(1), None).await.unwrap();
    let again = plan(Arc::clone(&state), &request(1), None).await.unwrap();
    let other = plan(state, &request(2), None).await.unwrap();
    assert!((60..140).contains(&first.files.len()));
    assert_eq!(paths(&first), paths(&again));
    assert_ne!(paths(&first), paths(&other));
}
