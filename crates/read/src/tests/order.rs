//! Stable order, whatever the threads and the budget; memory that comes back.

use super::*;

fn all(files: &[Range<i64>]) -> RecordBatch {
    let batches: Vec<RecordBatch> = files.iter().cloned().map(sample).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn stable_order_is_the_same_on_any_threads_and_at_any_budget() {
    let files = [0..40_000, 40_000..40_010, 40_010..90_000];
    let expected = all(&files);
    let mut world = World::of_samples(&files, 17_000);
    for threads in [1, 2, 5] {
        for budget in [3 << 20, 6 << 20, 24 << 20, 1 << 30] {
            (world.threads, world.budget) = (threads, budget);
            assert_eq!(world.rows().await.unwrap(), expected, "{threads} threads, {budget} bytes");
        }
    }
}

/// Strings that hardly compress, in pages of several MiB: larger than the estimate that memory is reserved by.
fn large_pages(rows: i64) -> (Schema, RecordBatch, Vec<u8>) {
    let text = |i: i64| (0..120).map(|k| char::from(b'a' + ((i * 7919 + k * k * 31 + (i * k) % 17) % 26) as u8)).collect::<String>();
    let array: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(text)));
    let (schema, batch) = one_column(1, "s", PrimitiveType::String, array);
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_data_page_size_limit(16 << 20)
        .set_data_page_row_count_limit(usize::MAX)
        .set_write_batch_size(1 << 20)
        .set_max_row_group_row_count(Some(60_000));
    let bytes = parquet_bytes(std::slice::from_ref(&batch), properties.build());
    (schema, batch, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_group_that_needs_more_than_was_thought_gets_it_without_a_stall() {
    let (schema, batch, bytes) = large_pages(240_000);
    for order in [Order::Stable, Order::Fast] {
        for budget in [40 << 20, 64 << 20, 512 << 20] {
            let mut world = World::new(schema.clone());
            world.add(bytes.clone(), 240_000);
            (world.options.order, world.budget) = (order, budget);
            let rows = tokio::time::timeout(std::time::Duration::from_secs(60), world.rows()).await;
            let rows = rows.unwrap_or_else(|_| panic!("a stall in {order:?} at {budget}")).unwrap();
            assert_eq!(rows.num_rows(), 240_000);
            if order == Order::Stable {
                assert!(rows == batch, "rows differ at {budget}");
            }
        }
    }
}

#[tokio::test]
async fn what_cannot_fit_is_refused_with_the_figure() {
    let (schema, _, bytes) = large_pages(60_000);
    let mut world = World::new(schema);
    world.add(bytes, 60_000);
    world.budget = 4 << 20;
    let error = world.rows().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BudgetTooSmall, "{error}");
    assert!(error.message().contains("data/0.parquet"), "{error}");
}

/// Many columns whose dictionaries and pages are alive at once, as decoding finds out one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn the_figure_of_a_refusal_suffices() {
    let random = |row: i64, column: i64| ((row * 7919 + column * 104_729) as f64).sin();
    let fields = (0..40).map(|column| Field::optional(column + 1, format!("c{column}"), PrimitiveType::Double)).collect();
    let schema = Schema::new(0, fields).unwrap();
    let column = |column| Arc::new(Float64Array::from_iter_values((0..40_000).map(|row| random(row, column)))) as ArrayRef;
    let batch = RecordBatch::try_new(with_ids(&schema), (0..40).map(column).collect()).unwrap();
    let mut world = World::new(schema);
    world.add(parquet_bytes(std::slice::from_ref(&batch), WriterProperties::default()), 40_000);
    let mut refused = 0;
    for budget in [4 << 20, 8 << 20, 12 << 20, 16 << 20, 24 << 20, 32 << 20, 48 << 20] {
        world.budget = budget;
        let Err(error) = world.rows().await else { continue };
        refused += 1;
        assert_eq!(error.kind(), ErrorKind::BudgetTooSmall, "{error}");
        let needed: u64 = error.message().split(" needs ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap();
        world.budget = needed;
        assert_eq!(world.rows().await.unwrap_or_else(|again| panic!("{error}, then {again}")).num_rows(), 40_000);
    }
    assert!(refused > 1, "nothing was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_scans_share_a_small_budget_and_all_finish() {
    let world = Arc::new(World::of_samples(&[0..20_000, 20_000..40_000], 5000));
    let context = ReadContext { budget: MemoryBudget::new(24 << 20), ..world.context() };
    let scans = (0..40).map(|scan| {
        let (world, context) = (Arc::clone(&world), context.clone());
        tokio::spawn(async move {
            let order = if scan % 2 == 0 { Order::Stable } else { Order::Fast };
            let mut stream = read(world.plan().0, ReadOptions { order, ..options() }, context).unwrap();
            let mut rows = 0;
            while let Some(batch) = stream.next().await {
                rows += batch.unwrap().num_rows();
                tokio::task::yield_now().await;
            }
            rows
        })
    });
    let counts = tokio::time::timeout(std::time::Duration::from_secs(60), futures::future::join_all(scans)).await.expect("a stall");
    assert!(counts.into_iter().all(|rows| rows.unwrap() == 40_000));
    settled(&context).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_stream_stops_fetches_and_decode_jobs_and_frees_memory() {
    for order in [Order::Stable, Order::Fast] {
        let files: Vec<Range<i64>> = (0..60).map(|i| i * 2000..(i + 1) * 2000).collect();
        let mut world = World::of_samples(&files, 500);
        world.options.order = order;
        let (mut stream, context, store) = world.open();
        stream.next().await.unwrap().unwrap();
        drop(stream);
        settled(&context).await;
        let requests = store.requests();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert_eq!(store.requests(), requests);
        assert!(requests < 60 * 5, "{requests}");
    }
}

#[tokio::test]
async fn a_slow_consumer_is_not_run_over() {
    let files: Vec<Range<i64>> = (0..20).map(|i| i * 5000..(i + 1) * 5000).collect();
    let mut world = World::of_samples(&files, 5000);
    (world.budget, world.options.order) = (8 << 20, Order::Fast);
    let (mut stream, context, _) = world.open();
    stream.next().await.unwrap().unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let decoded = context.stats.snapshot().rows_decoded;
    assert!(decoded < 100_000, "{decoded} rows were decoded for one batch");
}

/// A store whose data cannot be fetched without a panic.
#[derive(Debug)]
struct Panicking(Arc<dyn Store>);

#[async_trait]
impl Store for Panicking {
    fn spelling(&self, location: &str) -> String {
        self.0.spelling(location)
    }
    fn check(&self, location: &str) -> Result<()> {
        self.0.check(location)
    }
    async fn size(&self, location: &str) -> Result<u64> {
        self.0.size(location).await
    }
    async fn read_ranges(&self, _: &str, _: &[Range<u64>]) -> Result<Vec<Bytes>> {
        panic!("on purpose")
    }
    async fn read_all(&self, location: &str, limit: u64) -> Result<Bytes> {
        self.0.read_all(location, limit).await
    }
    async fn read_tail(&self, location: &str, length: u64) -> Result<(Bytes, u64)> {
        self.0.read_tail(location, length).await
    }
    async fn list(&self, directory: &str) -> Result<Vec<String>> {
        self.0.list(directory).await
    }
    fn counters(&self) -> StoreCounters {
        self.0.counters()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_outside_the_pool_ends_the_scan_with_an_error() {
    for order in [Order::Stable, Order::Fast] {
        let world = World::of_samples(&[0..2000, 2000..4000], 500);
        let (plan, store) = world.plan();
        let mut plan = plan.with_blocks(plan.blocks.clone());
        plan.table = Arc::new(TableState { store: Arc::new(Panicking(store)), ..TableState::clone(&plan.table) });
        let mut stream = read(Arc::new(plan), ReadOptions { order, ..options() }, world.context()).unwrap();
        let next = tokio::time::timeout(std::time::Duration::from_secs(20), stream.next()).await.expect("the scan hangs");
        assert_eq!(next.unwrap().unwrap_err().kind(), ErrorKind::Internal, "{order:?}");
        assert!(stream.next().await.is_none());
    }
}
