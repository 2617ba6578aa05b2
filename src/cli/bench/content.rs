//! Whether the rows from the store are those of the local files: a checksum of all values that does not depend on the order of rows.

use super::site::Site;
use crate::engine::Engine;
use arrow::row::{RowConverter, SortField};
use fastdata_types::{Error, Result, ScanRequest, Stage};
use futures::TryStreamExt;
use xxhash_rust::xxh3::xxh3_64;

/// The rows of the table, the same in both places.
pub async fn same(site: &Site, table: &str) -> Result<u64> {
    let (local, remote) = (content(&site.local()?, table).await?, content(&site.remote()?, table).await?);
    match local == remote {
        true => Ok(local.0),
        false => {
            Err(Error::internal(Stage::Read, format!("{table}: the local files hold {local:x?} (rows, checksum), the store {remote:x?}")))
        }
    }
}

async fn content(engine: &Engine, table: &str) -> Result<(u64, u64)> {
    let mut stream = engine.scan(&ScanRequest { table: table.to_owned(), ..Default::default() }).await?.stream;
    let fields = stream.schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let unhashed = |e: arrow::error::ArrowError| Error::internal(Stage::Read, format!("{table}: its values cannot be compared: {e}"));
    let converter = RowConverter::new(fields).map_err(unhashed)?;
    let (mut rows, mut checksum) = (0, 0_u64);
    while let Some(batch) = stream.try_next().await? {
        let encoded = converter.convert_columns(batch.columns()).map_err(unhashed)?;
        rows += batch.num_rows() as u64;
        checksum = encoded.iter().fold(checksum, |sum, row| sum.wrapping_add(xxh3_64(row.as_ref())));
    }
    Ok((rows, checksum))
}
