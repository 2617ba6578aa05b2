//! What one caller sees of tables: through every method of the engine, hidden is missing.

use crate::support;
use fastdata::assemble::{self, EMBEDDED_CATALOG, Paths};
use fastdata::auth::tokens::Tokens;
use fastdata::auth::{Identity, Policy};
use fastdata::config::{NamePattern, Rule, Settings};
use fastdata::engine::{Engine, Means};
use fastdata_types::lanes::LanePosition;
use fastdata_types::request::Order;
use fastdata_types::stats::StatsCollector;
use fastdata_types::transform::Transform;
use fastdata_types::{Error, ErrorKind, Field, MemoryBudget, PrimitiveType as P, Result, ScanRequest, Schema, TableName, Type, Value};
use fastdata_write::{FileOptions, PositionDeletes, Table, TableOptions, Warehouse, values};
use futures::TryStreamExt;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

type Row = Vec<Option<Value>>;

fn text(value: &str) -> Option<Value> {
    Some(Value::String(value.to_owned()))
}

fn person(id: i64, region: Option<&str>, salary: i64) -> Row {
    let address = Value::Struct(vec![text("Oslo"), text("secret street")]);
    vec![Some(Value::Long(id)), region.and_then(text), text(&format!("ssn-{id}")), Some(Value::Long(salary)), Some(address)]
}

fn schema() -> Schema {
    let address = Type::structure(vec![Field::optional(6, "city", P::String), Field::optional(7, "street", P::String)]);
    let fields = vec![
        Field::required(1, "id", P::Long),
        Field::optional(2, "region", P::String),
        Field::optional(3, "ssn", P::String),
        Field::optional(4, "amount", P::Long),
        Field::optional(5, "address", address),
    ];
    Schema::new(0, fields).unwrap()
}

fn append(table: &mut Table, rows: &[Row]) -> (i64, Vec<String>) {
    let batch = values::batch(table.schema(), rows).unwrap();
    let mut change = table.change();
    let files = change.append(&[batch], &FileOptions::default()).unwrap();
    (change.commit().unwrap(), files)
}

/// `hr.people`, whose `amount` became `salary` while another column took its name; and the tables named beside it.
struct World {
    _folder: TempDir,
    engine: Engine,
    first: i64,
    second: i64,
}

impl World {
    fn new(others: &[&str]) -> World {
        let folder = tempfile::tempdir().unwrap();
        let warehouse = Warehouse::open(folder.path()).unwrap();
        let options = || TableOptions {
            partition: vec![("region".to_owned(), Transform::Identity)],
            properties: [("owner".to_owned(), "payroll".to_owned())].into(),
            ..TableOptions::new(schema())
        };
        let mut table = warehouse.create_table(&TableName::new(["hr"], "people"), options()).unwrap();
        let rows = [person(1, Some("EU"), 10), person(2, Some("US"), i64::MAX), person(3, Some("EU"), 30), person(4, None, 40)];
        let (first, files) = append(&mut table, &rows);
        table.tag("first", first).unwrap();
        let renamed = |s: &mut fastdata_write::SchemaUpdate| {
            s.rename("amount", "salary")?;
            s.add("", Field::optional(0, "amount", P::String)).map(drop)
        };
        table.update_schema(renamed).unwrap();
        let mut rows = [person(5, Some("EU"), 50), person(6, Some("US"), 60)];
        rows.iter_mut().for_each(|row| row.push(text("much")));
        append(&mut table, &rows);
        let mut change = table.change();
        let rows = files.iter().map(|file| (Some(file.clone()), 1)).collect();
        change.delete_positions(&PositionDeletes { rows, file_scoped: true, path_bounds: true }).unwrap();
        let second = change.commit().unwrap();
        for name in others {
            let mut parts = TableName::parse_parts(name).unwrap();
            let table = parts.pop().unwrap();
            warehouse.create_table(&TableName { namespace: parts, name: table }, options()).unwrap();
        }
        let engine = engine(folder.path());
        World { _folder: folder, engine, first, second }
    }

    fn seen(&self, rules: Vec<Rule>) -> Engine {
        self.engine.seen_by(Policy::new(rules).of(&Identity::anonymous()))
    }
}

fn engine(folder: &Path) -> Engine {
    let settings = Settings { memory: Some(64 << 20), threads: 2, ..Settings::default() };
    assemble::engine(&settings, Some(folder), Paths::Allowed { moved: false }).unwrap()
}

/// Everyone may see this of `hr.people`.
fn people(columns: Option<&[&str]>, filter: Option<&str>) -> Rule {
    Rule {
        principals: vec!["*".to_owned()],
        tables: vec![NamePattern::parse("hr.people").unwrap()],
        columns: columns.map(|columns| columns.iter().map(|column| (*column).to_owned()).collect()),
        filter: filter.map(str::to_owned),
        ..Rule::default()
    }
}

fn asked(change: impl FnOnce(&mut ScanRequest)) -> ScanRequest {
    let mut request = ScanRequest { order: Order::Stable, ..ScanRequest::table("hr.people") };
    change(&mut request);
    request
}

/// The rows as text, and the names of their columns.
async fn rows(engine: &Engine, request: &ScanRequest) -> Result<(Vec<String>, Vec<String>)> {
    let scan = engine.scan(request).await?;
    let names = scan.plan.projection.fields.iter().map(|field| field.name.clone()).collect();
    let projection = Arc::clone(&scan.plan.projection);
    let batches: Vec<_> = scan.stream.try_collect().await?;
    let rows = batches.iter().flat_map(|batch| values::rows(batch, &projection).unwrap()).map(|row| format!("{row:?}"));
    Ok((rows.collect(), names))
}

/// The ids of the rows of a scan, sorted.
async fn ids(engine: &Engine, request: &ScanRequest) -> Result<Vec<i64>> {
    let request = ScanRequest { columns: vec!["id".to_owned()], ..request.clone() };
    let mut ids: Vec<i64> = rows(engine, &request)
        .await?
        .0
        .iter()
        .map(|row| row.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap())
        .collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Everything that an error says.
fn said(error: &Error) -> (ErrorKind, String, Option<String>) {
    (error.kind(), error.message().to_owned(), error.advice_text().map(str::to_owned))
}

/// Two warehouses, one without what the rules hide: nobody can tell which one answers.
#[tokio::test]
async fn what_is_hidden_is_missing_in_every_method() {
    let hiding = World::new(&["hr.payroll", "hr.people_old", "ops.logs", "deep.er.t"]);
    let without = World::new(&[]);
    let rules = || vec![people(None, None)];
    let names = [
        "hr.payroll",
        "hr.people_old",
        "hr.peopl",
        "ops.logs",
        "ops.none",
        "deep.er.t",
        "deep.t",
        "\"deep.er\".t",
        "local.hr.payroll",
        "none.x",
    ];
    for name in names {
        let mut answers = Vec::new();
        for world in [&hiding, &without] {
            let engine = world.seen(rules());
            let request = ScanRequest::table(name);
            let errors = [
                engine.table(name).await.err(),
                engine.plan(&request).await.err(),
                engine.scan(&request).await.err(),
                engine.load(name).await.err(),
            ];
            answers.push(errors.map(|error| said(&error.expect(name))));
        }
        assert_eq!(answers[0], answers[1], "{name}");
        assert_eq!(answers[0][0].0, ErrorKind::NotFound, "{name}");
    }
    for namespace in
        [None, Some("hr"), Some("local"), Some("local.hr"), Some("ops"), Some("deep"), Some("deep.er"), Some("none"), Some("h")]
    {
        let listed = async |world: &World| world.seen(rules()).tables(namespace).await.map_err(|e| said(&e));
        assert_eq!(listed(&hiding).await, listed(&without).await, "{namespace:?}");
    }
    let all = hiding.seen(rules()).tables(None).await.unwrap();
    assert_eq!(all.iter().map(|table| table.reference.to_string()).collect::<Vec<_>>(), ["hr.people"]);
    assert!(hiding.engine.table("hr.payroll").await.is_ok(), "it is there for those who see everything");
}

#[tokio::test]
async fn a_catalog_of_which_nothing_is_visible_is_none_and_paths_open_nothing() {
    let world = World::new(&[]);
    let elsewhere = Rule { catalogs: vec![NamePattern::parse("other").unwrap()], ..people(None, None) };
    let engine = world.seen(vec![elsewhere]);
    assert!(engine.tables(None).await.unwrap().is_empty() && engine.catalogs().is_empty());
    assert_eq!(engine.plan(&ScanRequest::table("hr.people")).await.unwrap_err().kind(), ErrorKind::NotFound);
    let location = world.engine.table("hr.people").await.unwrap().metadata_location;
    assert!(world.engine.table(&location).await.is_ok());
    let whole = world.seen(vec![people(None, None)]);
    assert_eq!(whole.table(&location).await.unwrap_err().kind(), ErrorKind::InvalidRequest, "rules are about names");
    assert!(whole.table(&format!("{EMBEDDED_CATALOG}.hr.people")).await.is_ok());
}

#[tokio::test]
async fn a_hidden_column_is_an_unknown_one_in_filters_and_projections() {
    let world = World::new(&[]);
    let engine = world.seen(vec![people(Some(&["id", "address.city", "_pos"]), None)]);
    let (_, names) = rows(&engine, &asked(|_| ())).await.unwrap();
    assert_eq!(names, ["id", "address"]);
    let (shown, _) = rows(&engine, &asked(|r| r.columns = vec!["address".to_owned()])).await.unwrap();
    assert!(shown.iter().all(|row| row.contains("Oslo") && !row.contains("street")), "{shown:?}");
    assert!(rows(&engine, &asked(|r| (r.columns, r.filter) = (vec!["_pos".to_owned()], "_pos >= 0".to_owned()))).await.is_ok());
    for hidden in ["ssn", "SSN", "region", "salary", "address.street", "_file", "_partition", "_partition.region", "_row_id"] {
        let never = "never_there";
        for (what, request) in [
            ("column", asked(|r| r.columns = vec![hidden.to_owned()])),
            ("filter", asked(|r| r.filter = format!("{hidden} IS NULL"))),
            ("old filter", asked(|r| (r.snapshot_id, r.filter) = (Some(world.first), format!("{hidden} IS NULL")))),
        ] {
            let error = engine.plan(&request).await.expect_err(hidden);
            assert_eq!(error.kind(), ErrorKind::NotFound, "{what} {hidden}: {error:?}");
            let missing = ScanRequest {
                columns: request.columns.iter().map(|_| never.to_owned()).collect(),
                filter: request.filter.replace(hidden, never),
                ..request
            };
            let missing = engine.plan(&missing).await.unwrap_err();
            assert_eq!(error.message().replace(hidden, never), missing.message(), "{what} {hidden}");
            let advice = error.advice_text().unwrap_or_default();
            for secret in ["ssn", "region", "salary", "street", "_file", "_partition", "_row_id"] {
                assert!(!advice.contains(secret), "{what} {hidden}: {advice}");
            }
        }
    }
}

/// What is called `amount` now is another column than what was.
#[tokio::test]
async fn a_granted_name_means_the_same_column_at_every_snapshot() {
    let world = World::new(&[]);
    let engine = world.seen(vec![people(Some(&["id", "amount"]), None)]);
    let (_, now) = rows(&engine, &asked(|_| ())).await.unwrap();
    assert_eq!(now, ["id", "amount"]);
    for at in [asked(|r| r.snapshot_id = Some(world.first)), asked(|r| r.r#ref = Some("first".to_owned()))] {
        assert_eq!(rows(&engine, &at).await.unwrap().1, ["id"], "the amount of then is the salary of now");
    }
    let salary = world.seen(vec![people(Some(&["id"]), Some("salary < 45"))]);
    assert_eq!(ids(&salary, &asked(|r| r.snapshot_id = Some(world.first))).await.unwrap(), [1, 3, 4]);
    assert_eq!(
        rows(&world.seen(vec![people(Some(&["missing"]), None)]), &asked(|_| ())).await.unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
}

#[tokio::test]
async fn hidden_rows_are_in_no_scan_at_any_snapshot_with_deletes_and_lanes() {
    let world = World::new(&[]);
    let engine = world.seen(vec![people(Some(&["id", "salary"]), Some("region = 'EU'"))]);
    let at = |change: fn(&mut ScanRequest)| asked(change);
    assert_eq!(ids(&world.engine, &at(|_| ())).await.unwrap(), [1, 2, 4, 5, 6], "one of the EU is deleted");
    assert_eq!(ids(&engine, &at(|_| ())).await.unwrap(), [1, 5]);
    assert_eq!(ids(&engine, &at(|r| r.r#ref = Some("first".to_owned()))).await.unwrap(), [1, 3]);
    assert_eq!(
        ids(&engine, &asked(|r| (r.from_snapshot_id, r.to_snapshot_id) = (Some(world.first), Some(world.second)))).await.unwrap(),
        [5]
    );
    assert_eq!(ids(&engine, &at(|r| r.filter = "salary > 20".to_owned())).await.unwrap(), [5]);
    assert_eq!(ids(&engine, &at(|r| r.limit = Some(1))).await.unwrap(), [1]);

    let request = at(|r| (r.lanes, r.columns) = (Some(3), vec!["id".to_owned()]));
    let plan = Arc::new(engine.plan(&request).await.unwrap());
    let lanes = engine.lanes(Arc::clone(&plan), &request).unwrap();
    assert_eq!(engine.count_lanes(&lanes, engine.means(&lanes.plan)).await.unwrap().iter().sum::<u64>(), 2);
    let mut total = 0;
    for lane in 0..3 {
        let means = Means { budget: MemoryBudget::new(64 << 20), stats: Arc::new(StatsCollector::default()) };
        let batches: Vec<_> = engine.read_lanes(&lanes, vec![(lane, LanePosition::default())], means).unwrap().try_collect().await.unwrap();
        total += batches.iter().map(|next| next.batch.num_rows()).sum::<usize>();
    }
    assert_eq!(total, 2);
    let digest = |engine: &Engine, plan| engine.lanes(plan, &request).unwrap().lanes.digest;
    let everything = Arc::new(world.engine.plan(&request).await.unwrap());
    let other = world.seen(vec![people(None, Some("region = 'EU' AND TRUE"))]);
    let other_plan = Arc::new(other.plan(&request).await.unwrap());
    let ours = digest(&engine, plan);
    assert!(ours != digest(&world.engine, everything) && ours != digest(&other, other_plan), "a cursor of other rows must not fit");
}

#[tokio::test]
async fn a_callers_filter_learns_nothing_of_hidden_rows() {
    let world = World::new(&[]);
    // No bound and no partition rules the files of hidden rows out: they are decoded, and hidden then.
    let engine = world.seen(vec![people(Some(&["id", "salary", "region"]), Some("id % 2 = 1"))]);
    for (filter, whole, seen) in [
        ("salary + 1 > 0", Err(ErrorKind::InvalidRequest), vec![1, 5]),
        ("CAST(salary AS INT) > 0", Err(ErrorKind::InvalidRequest), vec![1, 5]),
        ("-(salary * 2) < 0", Err(ErrorKind::InvalidRequest), vec![1, 5]),
        ("10 / (salary - 60) < 100", Ok(()), vec![1, 5]),
    ] {
        let request = asked(|r| r.filter = filter.to_owned());
        assert_eq!(ids(&world.engine, &request).await.map(drop).map_err(|e| e.kind()), whole, "{filter}");
        assert_eq!(ids(&engine, &request).await.unwrap(), seen, "{filter}");
    }
    let request = asked(|r| r.filter = "salary > 1000".to_owned());
    let plan = engine.plan(&request).await.unwrap();
    assert!(plan.grant.hides_rows() && plan.report.files_considered > 0);
    let told = plan.told();
    assert_eq!((told.files_considered, told.rows_estimated, told.bytes, told.files_pruned_by_bounds), (0, 0, 0, 0));
    assert_eq!(told.snapshot_id, plan.snapshot_id);
}

#[tokio::test]
async fn a_row_filter_that_cannot_be_applied_shows_no_row_and_not_itself() {
    let world = World::new(&[]);
    let now = asked(|_| ());
    let old = asked(|r| r.snapshot_id = Some(world.first));
    for (filter, request) in [
        ("nothing = 1", &now),
        ("ssn =", &now),
        ("ssn > 5", &now),
        // There was no such column then; one of that name was another.
        ("amount = 'much'", &old),
        ("CAST(ssn AS INT) > 1", &now),
        ("salary + 1 > 0", &now),
    ] {
        let error = rows(&world.seen(vec![people(None, Some(filter))]), request).await.expect_err(filter);
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{filter}: {error:?}");
        let said = format!("{}{}", error.message(), error.advice_text().unwrap_or_default());
        for secret in ["ssn", "salary", "amount", "nothing"] {
            assert!(!said.contains(secret), "{filter}: {said}");
        }
    }
    assert_eq!(ids(&world.seen(vec![people(None, Some("amount = 'much'"))]), &now).await.unwrap(), [5, 6]);
}

#[tokio::test]
async fn a_description_tells_nothing_of_what_is_hidden() {
    let world = World::new(&[]);
    let whole = world.engine.table("hr.people").await.unwrap();
    let told = world.seen(vec![people(Some(&["id", "address.city"]), None)]).table("hr.people").await.unwrap();
    let seen = format!("{:?} {:?} {:?}", told.metadata, told.metadata_location, told.notes);
    for secret in ["ssn", "region", "salary", "amount", "street", "EU", "payroll", "file://", "avro"] {
        assert!(!seen.contains(secret), "{secret} in {seen}");
    }
    assert_eq!(told.metadata.snapshots.len(), whole.metadata.snapshots.len());
    assert_eq!(told.metadata.snapshots[0].summary.get("total-records"), whole.metadata.snapshots[0].summary.get("total-records"));
    let filtered = world.seen(vec![people(None, Some("region = 'EU'"))]).table("hr.people").await.unwrap();
    assert!(filtered.metadata.snapshots.iter().all(|snapshot| snapshot.summary.is_empty()), "counts are of all rows");
    assert_eq!(filtered.metadata.current_schema(), whole.metadata.current_schema());
    for rule in [people(Some(&["id"]), None), people(None, Some("region = 'EU'"))] {
        let plan = world.seen(vec![rule]).plan(&asked(|_| ())).await.unwrap();
        assert_eq!(plan.check_files_may_be_listed().unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
    assert!(world.seen(vec![people(None, None)]).plan(&asked(|_| ())).await.unwrap().check_files_may_be_listed().is_ok());
}

#[test]
fn a_token_goes_to_one_stream_and_the_line_that_knows_it_to_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let output = support::run(folder.path(), &["token", "alice", "--group", "ml", "--group", "ops"]);
    assert!(output.status.success());
    let (token, line) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((token.lines().count(), line.lines().count()), (1, 1));
    let file = folder.path().join("tokens");
    std::fs::write(&file, &line).unwrap();
    let known = Tokens::open(&file).unwrap().find(token.trim_end()).unwrap();
    assert_eq!(known, Identity { principal: "alice".to_owned(), groups: vec!["ml".to_owned(), "ops".to_owned()] });
    assert!(!line.contains(token.trim_end()));
    let (status, message) = support::fail(folder.path(), &["token", "a b"]);
    assert!(status == 2 && message.contains("'a b' is no principal"), "{message}");
}
