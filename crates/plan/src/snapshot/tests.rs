use super::*;
use crate::testing::{metadata, schema, snapshot, spec};
use fastdata_types::metadata::{LogEntry, SnapshotRef};
use fastdata_types::schema::{Field, PrimitiveType, Type};

/// Snapshots 1 <- 2 <- 3 with schemas 0, 0 and none; the current schema is 1.
fn table() -> TableMetadata {
    let mut snapshots = vec![snapshot(1, None, "append"), snapshot(2, Some(1), "append"), snapshot(3, Some(2), "append")];
    snapshots[2].schema_id = None;
    let mut table = metadata(schema(), vec![spec(0, &[])], snapshots);
    table.schemas.insert(1, Arc::new(Schema::new(1, vec![Field::required(1, "id", PrimitiveType::Long)]).unwrap()));
    table.current_schema_id = 1;
    table.refs.insert("audit".into(), SnapshotRef { snapshot_id: 2, is_branch: true });
    table.refs.insert("v1".into(), SnapshotRef { snapshot_id: 2, is_branch: false });
    table
}

fn request() -> ScanRequest {
    ScanRequest::table("ns.t")
}

fn chosen(request: ScanRequest) -> (Option<i64>, i32) {
    let selection = select(&table(), &request).unwrap();
    (selection.snapshot_id(), selection.schema().id)
}

#[test]
fn the_current_table_and_branches_use_the_current_schema() {
    assert_eq!(chosen(request()), (Some(3), 1));
    assert_eq!(chosen(ScanRequest { r#ref: Some("main".into()), ..request() }), (Some(3), 1));
    assert_eq!(chosen(ScanRequest { r#ref: Some("audit".into()), ..request() }), (Some(2), 1));
}

#[test]
fn ids_tags_and_as_of_use_the_snapshots_schema_else_the_current_one() {
    assert_eq!(chosen(ScanRequest { snapshot_id: Some(2), ..request() }), (Some(2), 0));
    assert_eq!(chosen(ScanRequest { r#ref: Some("v1".into()), ..request() }), (Some(2), 0));
    assert_eq!(chosen(ScanRequest { as_of_ms: Some(2500), ..request() }), (Some(2), 0));
    assert_eq!(chosen(ScanRequest { snapshot_id: Some(3), ..request() }), (Some(3), 1));
}

#[test]
fn a_schema_that_the_table_does_not_hold_is_corrupt() {
    let mut table = table();
    table.schemas.remove(&0);
    let error = select(&table, &ScanRequest { snapshot_id: Some(2), ..request() }).unwrap_err();
    assert_eq!(error.kind(), fastdata_types::ErrorKind::Corrupt, "{error}");
}

#[test]
fn as_of_goes_by_the_snapshot_log_and_not_by_the_snapshots_own_times() {
    let mut table = table();
    // Rolled back from 3 to 1 at 5000; cherry-picked 2 at 6000.
    let log = [(1000, 1), (3000, 3), (5000, 1), (6000, 2)];
    table.snapshot_log = log.map(|(timestamp_ms, snapshot_id)| LogEntry { timestamp_ms, snapshot_id }).to_vec();
    let at = |ms: i64| select(&table, &ScanRequest { as_of_ms: Some(ms), ..request() }).map(|s| s.snapshot_id().unwrap());
    assert_eq!(at(1000).unwrap(), 1);
    assert_eq!(at(2999).unwrap(), 1);
    assert_eq!(at(4999).unwrap(), 3);
    assert_eq!(at(5500).unwrap(), 1);
    assert_eq!(at(i64::MAX).unwrap(), 2);
    let error = at(999).unwrap_err();
    assert_eq!(error.kind(), fastdata_types::ErrorKind::NotFound);
    assert!(error.message().contains("1970-01-01T00:00:01.000Z"), "it does not say the earliest: {error}");
    table.snapshot_log[0].snapshot_id = 99;
    let expired = select(&table, &ScanRequest { as_of_ms: Some(1500), ..request() }).unwrap_err();
    assert!(expired.message().contains("expired"), "{expired}");
}

#[test]
fn unknown_snapshots_and_refs_name_what_there_is() {
    let error = select(&table(), &ScanRequest { snapshot_id: Some(77), ..request() }).unwrap_err();
    assert_eq!(error.kind(), fastdata_types::ErrorKind::NotFound);
    assert!(["1 (", "2 (", "3 ("].iter().all(|id| error.advice_text().unwrap().contains(id)), "{error:?}");
    let error = select(&table(), &ScanRequest { r#ref: Some("audti".into()), ..request() }).unwrap_err();
    assert!(error.advice_text().unwrap().contains("did you mean: audit"), "{error:?}");
    let mut dangling = table();
    dangling.refs.insert("bad".into(), SnapshotRef { snapshot_id: 77, is_branch: true });
    let error = select(&dangling, &ScanRequest { r#ref: Some("bad".into()), ..request() }).unwrap_err();
    assert_eq!(error.kind(), fastdata_types::ErrorKind::Corrupt);
}

#[test]
fn a_table_without_snapshots_is_empty() {
    let empty = metadata(schema(), vec![spec(0, &[])], vec![]);
    assert_eq!(select(&empty, &request()).unwrap().snapshot_id(), None);
    assert_eq!(select(&empty, &ScanRequest { r#ref: Some("main".into()), ..request() }).unwrap().snapshot_id(), None);
    assert!(select(&empty, &ScanRequest { r#ref: Some("other".into()), ..request() }).is_err());
    assert!(select(&empty, &ScanRequest { from_snapshot_id: Some(1), ..request() }).is_err());
}

type Range = (Vec<i64>, Vec<(i64, String)>);

/// The appends of a range, and the snapshots that are none.
fn range(table: &TableMetadata, from: i64, to: Option<i64>) -> Result<Range> {
    let selection = select(table, &ScanRequest { from_snapshot_id: Some(from), to_snapshot_id: to, ..request() })?;
    let appends = selection.appends.unwrap();
    Ok((appends.snapshots.iter().map(|s| s.id).collect(), appends.skipped))
}

#[test]
fn an_incremental_range_is_after_its_start_up_to_its_end_and_appends_only() {
    let mut table = table();
    let mut overwrite = (*table.snapshots[1]).clone();
    overwrite.operation = Some("overwrite".into());
    table.snapshots[1] = Arc::new(overwrite);
    assert_eq!(range(&table, 1, Some(3)).unwrap(), (vec![3], vec![(2, "overwrite".to_owned())]));
    assert_eq!(range(&table, 1, None).unwrap().0, vec![3]);
    assert_eq!(range(&table, 1, Some(2)).unwrap().0, Vec::<i64>::new());
    assert_eq!(range(&table, 3, Some(3)).unwrap(), (vec![], vec![]));
}

#[test]
fn an_expired_start_is_valid_if_it_is_the_parent_of_an_ancestor() {
    let mut table = table();
    let mut first = (*table.snapshots[0]).clone();
    first.parent_id = Some(40);
    table.snapshots[0] = Arc::new(first);
    assert_eq!(range(&table, 40, Some(2)).unwrap().0, vec![1, 2]);
    let error = range(&table, 41, Some(2)).unwrap_err();
    assert!(error.message().contains("41") && error.advice_text().unwrap().contains("2 ("), "{error:?}");
    let error = range(&table, 3, Some(2)).unwrap_err();
    assert!(error.message().contains("no ancestor"), "{error}");
}

#[test]
fn parents_in_a_circle_do_not_loop() {
    let mut table = table();
    let mut first = (*table.snapshots[0]).clone();
    first.parent_id = Some(3);
    table.snapshots[0] = Arc::new(first);
    assert!(range(&table, 40, Some(2)).is_err());
    assert_eq!(range(&table, 1, Some(3)).unwrap().0, vec![2, 3]);
}

#[test]
fn a_pinned_selection_does_not_see_later_commits() {
    let selection = select_pinned(&table(), &request(), Some(2), 0).unwrap();
    assert_eq!((selection.snapshot_id(), selection.schema().id), (Some(2), 0));
    assert!(select_pinned(&table(), &request(), Some(9), 0).is_err());
    assert!(select_pinned(&table(), &request(), Some(2), 9).is_err());
    let ranged = select_pinned(&table(), &ScanRequest { from_snapshot_id: Some(1), ..request() }, Some(2), 0).unwrap();
    assert_eq!(ranged.appends.unwrap().snapshots.len(), 1);
}

#[test]
fn metadata_columns_give_way_to_columns_of_the_table() {
    let mut table = table();
    table.partition_specs.insert(1, Arc::new(spec(1, &[(1, "bucket[4]")])));
    let bindable = select(&table, &request()).unwrap().bindable_schema(&table).unwrap();
    let names: Vec<&str> = bindable.fields.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["id", "_file", "_pos", "_spec_id", "_partition", "_row_id", "_last_updated_sequence_number"]);

    let fields = vec![Field::required(1, "_file", PrimitiveType::Long), Field::optional(1000, "wide", PrimitiveType::Int)];
    table.schemas.insert(1, Arc::new(Schema::new(1, fields).unwrap()));
    let bindable = select(&table, &request()).unwrap().bindable_schema(&table).unwrap();
    assert_eq!(bindable.fields.iter().filter(|f| f.name == "_file").count(), 1);
    assert_eq!(bindable.fields[0].ty, Type::Primitive(PrimitiveType::Long));
    assert!(bindable.fields.iter().all(|f| f.name != "_partition"), "its ids are taken");
}
