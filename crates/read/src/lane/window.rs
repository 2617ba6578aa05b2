//! One shuffle window: the batches of a part, and its rows in permuted order.

use super::permutation::permutation;
use crate::ReadOptions;
use crate::decode::without_waste;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;
use fastdata_types::lanes::ShuffleKey;
use fastdata_types::size::{batch_bytes, cut, row_bytes};
use fastdata_types::{Error, ErrorKind, Result, Stage};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// What choosing the order takes beside each row: place, size, number in the permutation, and its place in the order with its size.
const ORDER_BYTES: u64 = 8 + 8 + 4 + 8 + 8;

pub(super) struct Window {
    batches: Arc<Vec<RecordBatch>>,
    bytes: u64,
    rows: u64,
    room: u64,
    /// Rows by the manifests.
    expected: u64,
    lane: u32,
    part: u32,
    /// Batch and row, in the order of the lane.
    order: Vec<(u32, u32)>,
    /// Places of `order` that make one batch each.
    pieces: VecDeque<Range<usize>>,
}

impl Window {
    /// `room` bytes is what it may hold; `expected` rows is what the manifests say it will.
    pub(super) fn new(room: u64, expected: u64, lane: u32, part: u32) -> Window {
        Window { batches: Arc::default(), bytes: 0, rows: 0, room, expected, lane, part, order: vec![], pieces: VecDeque::new() }
    }

    pub(super) fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.bytes += batch_bytes(&batch) + ORDER_BYTES * batch.num_rows() as u64;
        if self.bytes > self.room || self.rows > u64::from(u32::MAX) {
            let whole = u128::from(self.bytes) * u128::from(self.expected.max(self.rows)) / u128::from(self.rows.max(1));
            let needed = u64::try_from(whole).unwrap_or(u64::MAX).saturating_mul(2);
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            return Err(Error::new(
                ErrorKind::BudgetTooSmall,
                Stage::Read,
                format!(
                    "shuffle window {} of lane {} takes about {needed} bytes ({} MiB), its rows and what decodes them, and the memory budget is {} MiB",
                    self.part,
                    self.lane,
                    mib(needed),
                    mib(self.room * 2)
                ),
            )
            .advice(format!("give at least --memory {}MiB, or shuffle with fewer window rows or smaller blocks", mib(needed + needed / 4))));
        }
        Arc::make_mut(&mut self.batches).push(batch);
        Ok(())
    }

    /// Chooses the order of the rows, without the first `skip` of them. False where there are not so many. Work for the pool.
    pub(super) fn permute(&mut self, key: ShuffleKey, skip: u64, options: &ReadOptions) -> bool {
        if skip > self.rows {
            return false;
        }
        let places = (0..).zip(self.batches.iter()).flat_map(|(at, batch)| (0..batch.num_rows() as u32).map(move |row| (at, row)));
        let places: Vec<(u32, u32)> = places.collect();
        let mut sizes = Vec::with_capacity(places.len());
        for batch in self.batches.iter() {
            let mut of_batch = vec![0u64; batch.num_rows()];
            for column in batch.columns() {
                of_batch.iter_mut().zip(row_bytes(column)).for_each(|(size, more)| *size = size.saturating_add(more));
            }
            sizes.extend(of_batch);
        }
        let order = permutation(key, self.lane, self.part, self.rows as u32).into_iter().skip(skip as usize);
        let (order, sizes): (Vec<_>, Vec<_>) =
            order.filter_map(|row| Some((*places.get(row as usize)?, *sizes.get(row as usize)?))).unzip();
        self.order = order;
        self.pieces = cut(&sizes, options.batch_bytes, options.batch_rows.max(1)).into();
        true
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The batches, and which rows of them make the next one.
    pub(super) fn next_rows(&mut self) -> (Arc<Vec<RecordBatch>>, Vec<(usize, usize)>) {
        let piece = self.pieces.pop_front().unwrap_or_default();
        let rows = self.order.get(piece).unwrap_or_default();
        (Arc::clone(&self.batches), rows.iter().map(|(batch, row)| (*batch as usize, *row as usize)).collect())
    }
}

/// Makes one batch of rows of many.
pub(super) fn gather(schema: &SchemaRef, batches: &[RecordBatch], rows: &[(usize, usize)]) -> Result<RecordBatch> {
    let failed = |error: arrow::error::ArrowError| Error::internal(Stage::Read, "rows could not be shuffled").source(error);
    let mut columns = Vec::with_capacity(schema.fields().len());
    for at in 0..schema.fields().len() {
        let parts: Vec<&dyn arrow::array::Array> = batches.iter().map(|batch| batch.column(at).as_ref()).collect();
        columns.push(without_waste(&interleave(&parts, rows).map_err(failed)?));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(failed)
}
