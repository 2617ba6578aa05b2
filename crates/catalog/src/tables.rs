//! What every kind of catalog does once it knows where a table's metadata is.

use crate::metadata::{MAX_METADATA_BYTES, parse_metadata};
use fastdata_types::metadata::TableMetadata;
use fastdata_types::{Result, Store};

/// Reads and parses a metadata file; errors name its location.
pub async fn load_metadata(store: &dyn Store, location: &str) -> Result<TableMetadata> {
    let bytes = store.read_all(location, MAX_METADATA_BYTES).await?;
    parse_metadata(&bytes).map_err(|e| e.context(location))
}

/// Whether a namespace is the given one or lies below it.
pub fn is_within(namespace: &[String], above: Option<&[String]>) -> bool {
    above.is_none_or(|above| namespace.starts_with(above))
}

/// The directory that holds the folder of a metadata file: above `metadata`, else the folder itself.
pub fn table_directory(metadata_location: &str) -> Option<&str> {
    let (folder, _) = metadata_location.rsplit_once('/')?;
    match folder.rsplit_once('/') {
        Some((table, "metadata")) if !table.is_empty() && !table.ends_with(['/', ':']) => Some(table),
        _ => Some(folder),
    }
}

/// Whether a location is on the local file system: no scheme, or `file:`.
pub fn is_local(location: &str) -> bool {
    match location.split_once(':') {
        Some((scheme, _)) => scheme.eq_ignore_ascii_case("file") || !is_scheme(scheme),
        None => true,
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_directory_is_above_the_metadata_folder() {
        assert_eq!(table_directory("s3://b/db/t/metadata/v1.metadata.json"), Some("s3://b/db/t"));
        assert_eq!(table_directory("s3://b/metadata/v1.metadata.json"), Some("s3://b"));
        assert_eq!(table_directory("/a/odd/v1.metadata.json"), Some("/a/odd"));
        // A bucket called `metadata` is no folder.
        assert_eq!(table_directory("s3://metadata/v1.metadata.json"), Some("s3://metadata"));
        assert_eq!(table_directory("/metadata/v1.metadata.json"), Some("/metadata"));
        assert_eq!(table_directory("v1.metadata.json"), None);
    }

    #[test]
    fn local_locations_are_told_from_urls() {
        assert!(is_local("/a/b") && is_local("file:///a") && is_local("FILE:/a") && is_local("a/b") && is_local("/odd:name"));
        assert!(!is_local("s3://b/a") && !is_local("gs://b"));
    }
}
