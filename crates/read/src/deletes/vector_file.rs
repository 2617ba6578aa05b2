//! Fetching deletion vectors from Puffin files.
//!
//! Contract: exactly the range that the manifest states is read, checked before by what any Puffin file must leave room for (magic first,
//! footer last): a bare vector without the Puffin frame around it is refused. Errors name the Puffin file.

use super::delete_parquet::{name_of, refuse_unreadable};
use super::memory::{Asker, Reservation};
use super::vector::{Refusal, decode, treemap_bytes};
use super::work::on_pool;
use crate::ReadContext;
use fastdata_types::plan::{DeleteFile, FileFormat};
use fastdata_types::stats::StatsCollector;
use fastdata_types::{Error, Result, Stage, Store};
use roaring::RoaringTreemap;

/// `PFA1` at the start of a Puffin file (Puffin spec "File structure").
const PUFFIN_MAGIC: &[u8; 4] = b"PFA1";
/// The shortest footer: magic, `{}`, payload size, flags, magic.
const SHORTEST_FOOTER: u64 = 4 + 2 + 4 + 4 + 4;

/// The positions of one deletion vector.
#[derive(Debug)]
pub(super) struct Vector {
    pub(super) positions: RoaringTreemap,
    _memory: Reservation,
}

pub(super) async fn load(
    store: &dyn Store,
    context: &ReadContext,
    delete: &DeleteFile,
    offset: u64,
    size: u64,
    asker: &Asker,
) -> Result<Vector> {
    refuse_unreadable(delete, FileFormat::Puffin)?;
    let what = format!("deletion vector at byte {offset} of {}", name_of(delete));
    let corrupt = |why: String| {
        Error::corrupt(Stage::Read, format!("{what}: {why}")).advice("restore the Puffin file, or rewrite the table's deletes")
    };
    let magic_size = PUFFIN_MAGIC.len() as u64;
    if offset < magic_size {
        return Err(corrupt(
            "a Puffin file starts with its magic number, no blob can start there: it is a bare vector or no Puffin file".into(),
        ));
    }
    let end = offset.checked_add(size).filter(|end| end.saturating_add(SHORTEST_FOOTER) <= delete.file_size);
    let end = end.ok_or_else(|| corrupt(format!("{size} bytes leave no room for a Puffin footer in {} bytes", delete.file_size)))?;
    let mut memory = asker.reservation(what.clone());
    memory.grow_to(size.saturating_mul(4).saturating_add(64 << 10)).await?;
    // The first blob is read together with the file's magic number, which precedes it.
    let start = if offset == magic_size { 0 } else { offset };
    let range = start..end;
    let bytes = store.read_ranges(&delete.path, std::slice::from_ref(&range)).await.map_err(|e| e.context(&what))?;
    StatsCollector::add(&context.stats.delete_files_read, 1);
    let bytes = bytes.into_iter().next().ok_or_else(|| Error::internal(Stage::Read, format!("{what}: the store returned no range")))?;
    if bytes.len() as u64 != end - start {
        return Err(Error::internal(Stage::Read, format!("{what}: the store returned {} bytes of {}", bytes.len(), end - start)));
    }
    let blob = match start {
        0 if !bytes.starts_with(PUFFIN_MAGIC) => return Err(corrupt("the file does not start as a Puffin file does".into())),
        0 => bytes.slice(PUFFIN_MAGIC.len()..),
        _ => bytes,
    };
    let cardinality = delete.record_count;
    let positions = loop {
        let (blob, allowance) = (blob.clone(), memory.bytes().saturating_sub(size));
        let decoded = on_pool(context, &what, move || match decode(&blob, cardinality, allowance) {
            Ok(positions) => Ok(Some(positions)),
            Err(Refusal::Allowance) => Ok(None),
            Err(Refusal::Corrupt(why)) => Err(Error::corrupt(Stage::Read, why)),
        });
        match decoded.await? {
            Some(positions) => break positions,
            // Many tiny bitmaps: more memory than their bytes, by a factor that the format bounds.
            None => memory.grow_to(memory.bytes().saturating_mul(2)).await?,
        }
    };
    memory.shrink_to(treemap_bytes(&positions));
    Ok(Vector { positions, _memory: memory })
}
