//! Puffin files with deletion vectors (Puffin specification, blob type `deletion-vector-v1`).
//!
//! Contract: each blob is length, magic, 64-bit roaring bitmap and CRC-32; the footer names each blob's data file and cardinality;
//! offsets are those that the manifest entries must carry.

use roaring::RoaringTreemap;
use serde_json::json;

const MAGIC: &[u8; 4] = b"PFA1";
const VECTOR_MAGIC: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];

/// Where a vector lies in the file.
pub struct Blob {
    pub offset: u64,
    pub length: u64,
    pub cardinality: u64,
}

/// The file of the given vectors (data file, deleted positions), and where each one is.
pub fn deletion_vectors(vectors: &[(&str, RoaringTreemap)]) -> std::io::Result<(Vec<u8>, Vec<Blob>)> {
    let mut file = MAGIC.to_vec();
    let (mut blobs, mut listed) = (Vec::new(), Vec::new());
    for (data_file, positions) in vectors {
        let mut body = VECTOR_MAGIC.to_vec();
        positions.serialize_into(&mut body)?;
        let offset = file.len() as u64;
        file.extend_from_slice(&(body.len() as u32).to_be_bytes());
        file.extend_from_slice(&body);
        file.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
        let length = file.len() as u64 - offset;
        let cardinality = positions.len();
        listed.push(json!({
            "type": "deletion-vector-v1",
            "fields": [2147483645],
            "snapshot-id": -1,
            "sequence-number": -1,
            "offset": offset,
            "length": length,
            "properties": {"referenced-data-file": data_file, "cardinality": cardinality.to_string()},
        }));
        blobs.push(Blob { offset, length, cardinality });
    }
    let payload = json!({"blobs": listed, "properties": {"created-by": "fastdata"}}).to_string();
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(payload.as_bytes());
    file.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(MAGIC);
    Ok((file, blobs))
}
