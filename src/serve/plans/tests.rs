use super::*;
use crate::assemble::{self, Paths};
use crate::auth::Identity;
use crate::config::Settings;
use fastdata_types::plan::{DataFile, DeleteFile, DeleteKind, FileDeletes, FileFormat};
use fastdata_types::{Everything, Field, PrimitiveType, ScanPlan, Schema, TableName, Value};
use fastdata_write::{Table, TableOptions, Warehouse};
use tempfile::TempDir;

/// `ns.t`, and one caller of a server that loads it anew for each plan.
struct World {
    _folder: TempDir,
    table: Table,
    engine: Engine,
    caller: Caller,
    plans: Plans,
}

impl World {
    fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let schema = Schema::new(0, vec![Field::required(1, "id", PrimitiveType::Long)]).unwrap();
        let warehouse = Warehouse::open(folder.path()).unwrap();
        let table = warehouse.create_table(&TableName::new(["ns"], "t"), TableOptions::new(schema)).unwrap();
        let settings = Settings { memory: Some(16 << 20), threads: 1, ..Settings::default() };
        let engine = assemble::engine(&settings, Some(folder.path()), Paths::Refused).unwrap();
        let identity = Identity { principal: "ada".to_owned(), groups: vec![] };
        let caller = Caller { identity, access: Arc::new(Everything), peer: None };
        World { _folder: folder, table, engine, caller, plans: Plans::new(Duration::ZERO, Metrics::new()) }
    }

    async fn plan(&self, filter: &str) -> Arc<Lanes> {
        let request = ScanRequest { filter: filter.to_owned(), ..ScanRequest::table("ns.t") };
        self.plans.plan(&self.engine, &self.caller, &request).await.unwrap().1
    }

    fn add_column(&mut self, name: &str) {
        self.table.update_schema(|schema| schema.add("", Field::optional(0, name, PrimitiveType::Long)).map(drop)).unwrap();
    }

    async fn kept(&self) -> u64 {
        self.plans.plans.run_pending_tasks().await;
        self.plans.kept()
    }
}

fn metadata(lanes: &Lanes) -> &Arc<TableMetadata> {
    &lanes.plan.table.metadata
}

#[tokio::test]
async fn plans_of_one_state_of_a_table_share_its_metadata() {
    let mut world = World::new();
    let (first, second) = (world.plan("id > 1").await, world.plan("id > 2").await);
    assert!(!Arc::ptr_eq(&first, &second) && Arc::ptr_eq(metadata(&first), metadata(&second)));
    world.add_column("more");
    let third = world.plan("id > 1").await;
    assert!(!Arc::ptr_eq(metadata(&first), metadata(&third)));
    assert_eq!(world.kept().await, 3);
}

/// Each state counts for half of what there is room for.
#[tokio::test]
async fn plans_of_states_that_are_too_many_are_forgotten() {
    let mut world = World::new();
    world.plans.states = States::new(2);
    world.plan("id > 1").await;
    world.plan("id > 2").await;
    world.add_column("a");
    world.plan("id > 1").await;
    assert_eq!(world.kept().await, 3);
    world.add_column("b");
    let newest = world.plan("id > 1").await;
    assert_eq!(world.kept().await, 2, "both plans of the oldest state are gone, and no other");
    assert!(Arc::ptr_eq(&newest, &world.plan("id > 1").await));
}

fn data_file(path: &str, equality: Vec<u32>) -> DataFile {
    DataFile {
        path: path.to_owned(),
        format: FileFormat::Parquet,
        file_size: 1,
        record_count: 1,
        spec_id: 0,
        partition: Arc::default(),
        sequence_number: 1,
        first_row_id: None,
        sort_order_id: None,
        split_offsets: vec![],
        encrypted: false,
        deletes: FileDeletes { equality, ..FileDeletes::default() },
    }
}

#[tokio::test]
async fn a_plan_weighs_what_grows_with_the_table() {
    let world = World::new();
    let lanes = world.plan("id > 1").await;
    let with = |change: &dyn Fn(&mut ScanPlan)| {
        let mut plan = lanes.plan.with_blocks(vec![]);
        change(&mut plan);
        weights::of_plan(&Lanes { plan: Arc::new(plan), ..lanes.as_ref().clone() })
    };
    let files = |change: &dyn Fn(&mut DataFile)| {
        let mut file = data_file("f", vec![]);
        change(&mut file);
        with(&|plan| plan.files = Arc::new(vec![file.clone()]))
    };
    let (none, file) = (with(&|_| ()), files(&|_| ()));
    assert!(file > none);
    assert!(files(&|file| file.path = "f".repeat(1000)) > file + 900);
    assert!(files(&|file| file.deletes.equality = vec![0; 1000]) > file + 3900, "pairs of data file and delete");
    let tuple = Arc::new(vec![Some(Value::String("x".repeat(1000)))]);
    let partitioned = files(&|file| file.partition = Arc::clone(&tuple));
    assert!(partitioned > file + 200 && partitioned < file + 1000, "its part of a tuple that others hold too");
    let delete = DeleteFile {
        path: "d".repeat(1000),
        format: FileFormat::Parquet,
        file_size: 1,
        record_count: 1,
        spec_id: 0,
        partition: Arc::default(),
        sequence_number: 1,
        encrypted: false,
        kind: DeleteKind::Position { referenced_data_file: Some("f".repeat(1000)) },
    };
    assert!(with(&|plan| plan.deletes = Arc::new(vec![delete.clone()])) > none + 2000);
    let list: Vec<String> = (0..1000).map(|id| id.to_string()).collect();
    let listing = world.plan(&format!("id IN ({})", list.join(", "))).await;
    assert!(weights::of_plan(&listing) > weights::of_plan(&lanes) + 1000 * size_of::<Value>(), "a bound filter takes more than its text");
}
