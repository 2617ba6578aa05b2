//! The pages of one row group as the decoder asks for them, wherever the bytes of its chunks come from.

use super::{ChunkCursor, Fault, PageMeter, PageSource};
use fastdata_types::{Error, Result, Stage};
use parquet::arrow::arrow_reader::RowGroups;
use parquet::column::page::{PageIterator, PageReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use std::sync::Arc;

/// `cursor` gives the chunk of a leaf column, once. What goes wrong is the meter's fault, where the decoder's caller finds it.
pub(crate) struct RowGroupPages<'a, F> {
    pub(crate) metadata: &'a ParquetMetaData,
    pub(crate) row_group: usize,
    pub(crate) meter: Arc<PageMeter>,
    pub(crate) cursor: F,
}

impl<F: Fn(usize) -> Option<ChunkCursor>> RowGroupPages<'_, F> {
    fn source(&self, leaf: usize) -> Result<PageSource> {
        let missing = || Error::internal(Stage::Read, "a column was not fetched");
        let column = self.metadata.row_groups().get(self.row_group).and_then(|group| group.columns().get(leaf)).ok_or_else(missing)?;
        let cursor = (self.cursor)(leaf).ok_or_else(missing)?;
        let values = column.num_values().max(0) as u64;
        PageSource::new(cursor, column.compression(), column.column_descr_ptr(), values, Arc::clone(&self.meter))
            .map_err(|e| e.context(format!("column '{}'", column.column_path().string())))
    }
}

impl<F: Fn(usize) -> Option<ChunkCursor>> RowGroups for RowGroupPages<'_, F> {
    fn num_rows(&self) -> usize {
        self.row_groups().map(|group| group.num_rows().max(0) as usize).sum()
    }

    fn column_chunks(&self, leaf: usize) -> Result<Box<dyn PageIterator>, ParquetError> {
        let source = self.source(leaf).map_err(|error| {
            let text = ParquetError::General(error.message().to_owned());
            self.meter.fail(Fault::Failed(error));
            text
        })?;
        Ok(Box::new(OneChunk(Some(source))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(self.metadata.row_groups().get(self.row_group).into_iter())
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.metadata
    }
}

struct OneChunk(Option<PageSource>);

impl Iterator for OneChunk {
    type Item = Result<Box<dyn PageReader>, ParquetError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(|source| Ok(Box::new(source) as Box<dyn PageReader>))
    }
}

impl PageIterator for OneChunk {}
