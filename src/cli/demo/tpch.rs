//! The TPC-H tables, straight from the generator's rows to Arrow columns.
//!
//! Contract: the rows are those of the TPC-H data generator at the given scale, in its order within each partition. How: a table is a list of
//! columns, each a name and a way to get its value; rows are generated in parts, two or more at a time, and written a few million at a
//! time, so that memory stays the same at any scale.

use super::{Example, Site};
use arrow::array::builder::StringBuilder;
use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray};
use fastdata_types::arrow_type::arrow_schema;
use fastdata_types::request::StringEncoding;
use fastdata_types::transform::Transform;
use fastdata_types::{Error, Field, PrimitiveType, Result, Schema, Stage, TableName};
use fastdata_write::{FileOptions, Table, TableOptions};
use std::fmt::{Display, Write};
use std::sync::Arc;
use tpchgen::generators::{
    Customer, CustomerGenerator, LineItem, LineItemGenerator, Nation, NationGenerator, Order, OrderGenerator, Part, PartGenerator,
    PartSupp, PartSuppGenerator, Region, RegionGenerator, Supplier, SupplierGenerator,
};

const NAMESPACE: &str = "tpch";
const BATCH_ROWS: usize = 32 * 1024;
/// Rows that one thread generates before they are written.
const PART_ROWS: u64 = 1_000_000;
const DECIMAL: PrimitiveType = PrimitiveType::Decimal { precision: 15, scale: 2 };

/// How to get a column's value from a row.
enum Get<R> {
    Long(fn(&R) -> i64),
    Int(fn(&R) -> i32),
    /// Hundredths.
    Decimal(fn(&R) -> i64),
    /// Days from the epoch.
    Date(fn(&R) -> i32),
    Text(fn(&R) -> &str),
    Shown(fn(&R) -> &dyn Display),
}

type Columns<R> = Vec<(&'static str, Get<R>)>;

impl<R> Get<R> {
    fn ty(&self) -> PrimitiveType {
        match self {
            Get::Long(_) => PrimitiveType::Long,
            Get::Int(_) => PrimitiveType::Int,
            Get::Decimal(_) => DECIMAL,
            Get::Date(_) => PrimitiveType::Date,
            Get::Text(_) | Get::Shown(_) => PrimitiveType::String,
        }
    }

    fn array(&self, rows: &[R]) -> Result<ArrayRef> {
        Ok(match self {
            Get::Long(get) => Arc::new(Int64Array::from_iter_values(rows.iter().map(get))),
            Get::Int(get) => Arc::new(Int32Array::from_iter_values(rows.iter().map(get))),
            Get::Date(get) => Arc::new(Date32Array::from_iter_values(rows.iter().map(get))),
            Get::Text(get) => Arc::new(StringArray::from_iter_values(rows.iter().map(get))),
            Get::Decimal(get) => {
                let values = Decimal128Array::from_iter_values(rows.iter().map(|row| i128::from(get(row))));
                Arc::new(values.with_precision_and_scale(15, 2).map_err(impossible)?)
            }
            Get::Shown(get) => {
                let mut builder = StringBuilder::with_capacity(rows.len(), rows.len() * 16);
                for row in rows {
                    // Writing to a builder cannot fail.
                    let _ = write!(builder, "{}", get(row));
                    builder.append_value("");
                }
                Arc::new(builder.finish())
            }
        })
    }
}

fn impossible(cause: arrow::error::ArrowError) -> Error {
    Error::internal(Stage::Output, format!("building demo rows: {cause}"))
}

/// A table of the benchmark: `rows` is the iterator of one part of so many.
struct Tpch<R, I> {
    columns: Columns<R>,
    partition: Vec<(String, Transform)>,
    rows: fn(f64, i32, i32) -> I,
}

impl<R: Send + 'static, I: Iterator<Item = R> + 'static> Tpch<R, I> {
    fn example(self, name: &str, expected_rows: u64, scale: f64) -> Example {
        let name = TableName::new([NAMESPACE], name);
        Example { name, rows: expected_rows, make: Box::new(move |site| self.make(site, expected_rows, scale)) }
    }

    fn schema(&self) -> Result<Schema> {
        let field = |(at, (name, get)): (usize, &(&str, Get<R>))| Field::required(at as i32 + 1, *name, get.ty());
        Schema::new(0, self.columns.iter().enumerate().map(field).collect())
    }

    fn make(&self, site: &Site, expected_rows: u64, scale: f64) -> Result<Table> {
        let schema = self.schema()?;
        let options = TableOptions { partition: self.partition.clone(), seed: expected_rows, ..TableOptions::new(schema.clone()) };
        let mut table = site.create(options)?;
        let arrow = Arc::new(arrow_schema(&schema, StringEncoding::Utf8)?);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let parts = expected_rows.div_ceil(PART_ROWS).max(if expected_rows > 50_000 { threads as u64 } else { 1 }) as i32;
        let mut change = table.change();
        let numbers: Vec<i32> = (1..=parts).collect();
        for round in numbers.chunks(threads) {
            let generated = std::thread::scope(|scope| {
                let one = |part: i32| {
                    let arrow = arrow.clone();
                    move || self.part(scale, part, parts, &arrow, site)
                };
                let running: Vec<_> = round.iter().map(|part| scope.spawn(one(*part))).collect();
                let joined = running.into_iter().map(|thread| thread.join());
                joined.map(|r| r.unwrap_or_else(|_| Err(Error::internal(Stage::Output, "generating rows failed")))).collect::<Vec<_>>()
            });
            let mut batches = Vec::new();
            for part in generated {
                batches.extend(part?);
            }
            change.append(&batches, &FileOptions::default())?;
        }
        change.commit()?;
        Ok(table)
    }

    fn part(&self, scale: f64, part: i32, parts: i32, arrow: &Arc<arrow::datatypes::Schema>, site: &Site) -> Result<Vec<RecordBatch>> {
        let mut source = (self.rows)(scale, part, parts);
        let mut batches = Vec::new();
        loop {
            let rows: Vec<R> = source.by_ref().take(BATCH_ROWS).collect();
            if rows.is_empty() {
                return Ok(batches);
            }
            let columns = self.columns.iter().map(|(_, get)| get.array(&rows)).collect::<Result<Vec<_>>>()?;
            batches.push(RecordBatch::try_new(arrow.clone(), columns).map_err(impossible)?);
            site.progress(rows.len());
        }
    }
}

fn by(column: &str, transform: Transform) -> Vec<(String, Transform)> {
    vec![(column.to_owned(), transform)]
}

pub fn examples(scale: f64) -> Vec<Example> {
    let scaled = |base: f64| (base * scale) as u64;
    vec![
        region().example("region", 5, scale),
        nation().example("nation", 25, scale),
        supplier().example("supplier", scaled(10_000.0), scale),
        customer().example("customer", scaled(150_000.0), scale),
        part().example("part", scaled(200_000.0), scale),
        partsupp().example("partsupp", scaled(800_000.0), scale),
        orders().example("orders", scaled(1_500_000.0), scale),
        lineitem().example("lineitem", scaled(6_000_000.0), scale),
    ]
}

/// The first part has all the rows of a table that does not scale.
fn whole<I: Iterator>(rows: I, part: i32) -> std::iter::Take<I> {
    rows.take(if part == 1 { usize::MAX } else { 0 })
}

fn region() -> Tpch<Region<'static>, impl Iterator<Item = Region<'static>>> {
    Tpch {
        columns: vec![
            ("r_regionkey", Get::Long(|r| r.r_regionkey)),
            ("r_name", Get::Text(|r| r.r_name)),
            ("r_comment", Get::Text(|r| r.r_comment)),
        ],
        partition: vec![],
        rows: |scale, part, parts| whole(RegionGenerator::new(scale, part, parts).iter(), part),
    }
}

fn nation() -> Tpch<Nation<'static>, impl Iterator<Item = Nation<'static>>> {
    Tpch {
        columns: vec![
            ("n_nationkey", Get::Long(|r| r.n_nationkey)),
            ("n_name", Get::Text(|r| r.n_name)),
            ("n_regionkey", Get::Long(|r| r.n_regionkey)),
            ("n_comment", Get::Text(|r| r.n_comment)),
        ],
        partition: vec![],
        rows: |scale, part, parts| whole(NationGenerator::new(scale, part, parts).iter(), part),
    }
}

fn supplier() -> Tpch<Supplier, impl Iterator<Item = Supplier>> {
    Tpch {
        columns: vec![
            ("s_suppkey", Get::Long(|r| r.s_suppkey)),
            ("s_name", Get::Shown(|r| &r.s_name)),
            ("s_address", Get::Shown(|r| &r.s_address)),
            ("s_nationkey", Get::Long(|r| r.s_nationkey)),
            ("s_phone", Get::Shown(|r| &r.s_phone)),
            ("s_acctbal", Get::Decimal(|r| r.s_acctbal.into_inner())),
            ("s_comment", Get::Text(|r| &r.s_comment)),
        ],
        partition: vec![],
        rows: |scale, part, parts| SupplierGenerator::new(scale, part, parts).iter(),
    }
}

fn customer() -> Tpch<Customer<'static>, impl Iterator<Item = Customer<'static>>> {
    Tpch {
        columns: vec![
            ("c_custkey", Get::Long(|r| r.c_custkey)),
            ("c_name", Get::Shown(|r| &r.c_name)),
            ("c_address", Get::Shown(|r| &r.c_address)),
            ("c_nationkey", Get::Long(|r| r.c_nationkey)),
            ("c_phone", Get::Shown(|r| &r.c_phone)),
            ("c_acctbal", Get::Decimal(|r| r.c_acctbal.into_inner())),
            ("c_mktsegment", Get::Text(|r| r.c_mktsegment)),
            ("c_comment", Get::Text(|r| r.c_comment)),
        ],
        partition: by("c_mktsegment", Transform::Identity),
        rows: |scale, part, parts| CustomerGenerator::new(scale, part, parts).iter(),
    }
}

fn part() -> Tpch<Part<'static>, impl Iterator<Item = Part<'static>>> {
    Tpch {
        columns: vec![
            ("p_partkey", Get::Long(|r| r.p_partkey)),
            ("p_name", Get::Shown(|r| &r.p_name)),
            ("p_mfgr", Get::Shown(|r| &r.p_mfgr)),
            ("p_brand", Get::Shown(|r| &r.p_brand)),
            ("p_type", Get::Text(|r| r.p_type)),
            ("p_size", Get::Int(|r| r.p_size)),
            ("p_container", Get::Text(|r| r.p_container)),
            ("p_retailprice", Get::Decimal(|r| r.p_retailprice.into_inner())),
            ("p_comment", Get::Text(|r| r.p_comment)),
        ],
        partition: by("p_partkey", Transform::Bucket(4)),
        rows: |scale, part, parts| PartGenerator::new(scale, part, parts).iter(),
    }
}

fn partsupp() -> Tpch<PartSupp<'static>, impl Iterator<Item = PartSupp<'static>>> {
    Tpch {
        columns: vec![
            ("ps_partkey", Get::Long(|r| r.ps_partkey)),
            ("ps_suppkey", Get::Long(|r| r.ps_suppkey)),
            ("ps_availqty", Get::Int(|r| r.ps_availqty)),
            ("ps_supplycost", Get::Decimal(|r| r.ps_supplycost.into_inner())),
            ("ps_comment", Get::Text(|r| r.ps_comment)),
        ],
        partition: vec![],
        rows: |scale, part, parts| PartSuppGenerator::new(scale, part, parts).iter(),
    }
}

fn orders() -> Tpch<Order<'static>, impl Iterator<Item = Order<'static>>> {
    Tpch {
        columns: vec![
            ("o_orderkey", Get::Long(|r| r.o_orderkey)),
            ("o_custkey", Get::Long(|r| r.o_custkey)),
            ("o_orderstatus", Get::Text(|r| r.o_orderstatus.as_str())),
            ("o_totalprice", Get::Decimal(|r| r.o_totalprice.into_inner())),
            ("o_orderdate", Get::Date(|r| r.o_orderdate.to_unix_epoch())),
            ("o_orderpriority", Get::Text(|r| r.o_orderpriority)),
            ("o_clerk", Get::Shown(|r| &r.o_clerk)),
            ("o_shippriority", Get::Int(|r| r.o_shippriority)),
            ("o_comment", Get::Text(|r| r.o_comment)),
        ],
        partition: by("o_orderdate", Transform::Year),
        rows: |scale, part, parts| OrderGenerator::new(scale, part, parts).iter(),
    }
}

fn lineitem() -> Tpch<LineItem<'static>, impl Iterator<Item = LineItem<'static>>> {
    Tpch {
        columns: vec![
            ("l_orderkey", Get::Long(|r| r.l_orderkey)),
            ("l_partkey", Get::Long(|r| r.l_partkey)),
            ("l_suppkey", Get::Long(|r| r.l_suppkey)),
            ("l_linenumber", Get::Int(|r| r.l_linenumber)),
            ("l_quantity", Get::Decimal(|r| r.l_quantity * 100)),
            ("l_extendedprice", Get::Decimal(|r| r.l_extendedprice.into_inner())),
            ("l_discount", Get::Decimal(|r| r.l_discount.into_inner())),
            ("l_tax", Get::Decimal(|r| r.l_tax.into_inner())),
            ("l_returnflag", Get::Text(|r| r.l_returnflag)),
            ("l_linestatus", Get::Text(|r| r.l_linestatus)),
            ("l_shipdate", Get::Date(|r| r.l_shipdate.to_unix_epoch())),
            ("l_commitdate", Get::Date(|r| r.l_commitdate.to_unix_epoch())),
            ("l_receiptdate", Get::Date(|r| r.l_receiptdate.to_unix_epoch())),
            ("l_shipinstruct", Get::Text(|r| r.l_shipinstruct)),
            ("l_shipmode", Get::Text(|r| r.l_shipmode)),
            ("l_comment", Get::Text(|r| r.l_comment)),
        ],
        partition: by("l_shipdate", Transform::Month),
        rows: |scale, part, parts| LineItemGenerator::new(scale, part, parts).iter(),
    }
}
