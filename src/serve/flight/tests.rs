use super::super::plans::AT_ONCE;
use super::*;
use crate::auth::Identity;
use crate::telemetry::Format;
use fastdata_types::{Catalog, Everything, MemoryBudget, TableState};
use futures::future::join_all;
use std::sync::atomic::AtomicUsize;

/// Takes its time over each table, and has none.
#[derive(Debug, Default)]
struct Slow {
    loading: AtomicUsize,
    most: AtomicUsize,
    loads: AtomicUsize,
}

#[async_trait::async_trait]
impl Catalog for Slow {
    async fn list(&self, _: Option<&[String]>) -> Result<Vec<TableName>> {
        Ok(vec![])
    }
    async fn namespaces(&self) -> Result<Vec<Vec<String>>> {
        Ok(vec![])
    }
    async fn some_tables(&self) -> Vec<TableName> {
        vec![]
    }
    async fn load(&self, name: &TableName) -> Result<TableState> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.most.fetch_max(self.loading.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.loading.fetch_sub(1, Ordering::Relaxed);
        Err(Error::not_found(Stage::Catalog, format!("no table {name}")))
    }
    async fn check(&self) -> Result<String> {
        Ok(String::new())
    }
}

/// A catalog may answer with a hundred megabytes for each table.
#[tokio::test]
async fn only_a_few_tables_are_loaded_at_a_time_however_many_callers_there_are() {
    let catalog = Arc::new(Slow::default());
    let engine = Engine {
        catalogs: Arc::new([("slow".to_owned(), Arc::clone(&catalog) as Arc<dyn Catalog>)].into()),
        default_catalog: Some("slow".to_owned()),
        paths: None,
        budget: MemoryBudget::new(16 << 20),
        pool: Arc::new(rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap()),
        access: Arc::new(Everything),
    };
    for staleness in [Duration::ZERO, Duration::from_secs(60)] {
        let settings = Settings {
            keys: Keyring::ephemeral().unwrap(),
            ticket_lifetime: Duration::from_secs(60),
            staleness,
            limits: Limits::default(),
            telemetry: Telemetry::with_sink(Format::Json, Box::new(std::io::sink())).unwrap(),
        };
        let flight = Flight::new(engine.clone(), settings);
        let request = |number: usize| {
            let mut request = Request::new(FlightDescriptor::new_path(vec!["ns".to_owned(), format!("t{number}")]));
            let identity = Identity { principal: "ada".to_owned(), groups: vec![] };
            request.extensions_mut().insert(Caller { identity, access: Arc::new(Everything), peer: None });
            request
        };
        let infos = join_all((0..40).map(|number| flight.get_flight_info(request(number))));
        let schemas = join_all((0..40).map(|number| flight.get_schema(request(number))));
        let (infos, schemas) = tokio::join!(infos, schemas);
        assert!(infos.iter().all(Result::is_err) && schemas.iter().all(Result::is_err));
        assert_eq!((catalog.most.swap(0, Ordering::Relaxed), catalog.loads.swap(0, Ordering::Relaxed)), (AT_ONCE, 80));
    }
}
