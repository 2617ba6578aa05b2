//! Table directories and metadata files without a catalog.

use super::metadata;
use crate::{PathOptions, load_path};
use fastdata_testkit::files::LocalFiles;
use fastdata_types::ErrorKind;
use std::collections::BTreeMap;
use std::path::Path;

fn options() -> PathOptions {
    PathOptions { rewrites: vec![], allowed: vec![], properties: BTreeMap::new(), moved: None }
}

fn table(directory: &Path, files: &[(&str, &str)]) {
    let folder = directory.join("metadata");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, location) in files {
        let content = if name.ends_with(".json") { metadata(location).to_string() } else { (*location).to_owned() };
        std::fs::write(folder.join(name), content).unwrap();
    }
}

#[tokio::test]
async fn a_directory_is_read_by_its_hint_which_may_lag_or_by_a_guess_that_is_said_to_be_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    table(directory.path(), &[("v1.metadata.json", path), ("v2.metadata.json", path), ("v4.metadata.json", path)]);
    let guess = load_path(path, options(), LocalFiles::new()).await.unwrap();
    assert!(guess.metadata_location.ends_with("/v4.metadata.json") && guess.notes[0].contains("guess"), "{:?}", guess.notes);
    table(directory.path(), &[("version-hint.text", "1\n")]);
    let hinted = load_path(path, options(), LocalFiles::new()).await.unwrap();
    assert!(hinted.metadata_location.ends_with("/v2.metadata.json") && hinted.notes[0].contains("lags 1"), "{:?}", hinted.notes);
    let folder = format!("file://{path}/metadata/");
    assert_eq!(
        load_path(&folder, options(), LocalFiles::new()).await.unwrap().metadata_location,
        format!("file://{path}/metadata/v2.metadata.json")
    );
}

#[tokio::test]
async fn a_metadata_file_allows_the_directory_above_its_metadata_folder() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    table(directory.path(), &[("v1.metadata.json", path)]);
    let files = LocalFiles::new();
    let state = load_path(&format!("{path}/metadata/v1.metadata.json"), options(), files.clone()).await.unwrap();
    assert_eq!(files.last_scope().unwrap().allowed, [path]);
    assert!(state.notes.is_empty(), "{:?}", state.notes);
    assert_eq!(state.store.check("/etc/passwd").unwrap_err().kind(), ErrorKind::LocationNotAllowed);
}

#[tokio::test]
async fn a_moved_table_stands_for_the_location_in_its_metadata() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    table(directory.path(), &[("v1.metadata.json", "s3://lake/db/t/"), ("version-hint.text", "1")]);
    let still = load_path(path, options(), LocalFiles::new()).await.unwrap();
    assert!(still.notes[0].contains("s3://lake/db/t") && still.notes[0].contains("--moved"), "{:?}", still.notes);
    assert!(still.store.check("s3://lake/db/t/data/a.parquet").is_err());
    let moved: fn(&str, &str) -> Vec<(String, String)> = |from, to| vec![(from.to_owned(), to.to_owned())];
    let state = load_path(path, PathOptions { moved: Some(moved), ..options() }, LocalFiles::new()).await.unwrap();
    assert!(state.notes.is_empty());
    assert_eq!(state.store.spelling("s3://lake/db/t/data/a.parquet"), format!("{path}/data/a.parquet"));
    assert!(state.store.check("s3://lake/db/t/data/a.parquet").is_ok());
    assert!(state.store.check("s3://lake/db/other/a.parquet").is_err());
}

#[tokio::test]
async fn what_is_no_table_is_said_to_be_none() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    for (given, kind) in [
        (path.to_owned(), ErrorKind::NotFound),
        (format!("{path}/nothing"), ErrorKind::NotFound),
        (format!("{path}/metadata/v1.metadata.json"), ErrorKind::NotFound),
        ("/".to_owned(), ErrorKind::InvalidRequest),
        ("s3://".to_owned(), ErrorKind::InvalidRequest),
    ] {
        let e = load_path(&given, options(), LocalFiles::new()).await.unwrap_err();
        assert_eq!(e.kind(), kind, "{given}: {e}");
    }
    table(directory.path(), &[("v1.metadata.json.txt", "x"), ("snap-1.avro", "x")]);
    assert_eq!(load_path(path, options(), LocalFiles::new()).await.unwrap_err().kind(), ErrorKind::NotFound);
}
