//! Metadata that other engines wrote: every table of the corpus parses, every golden file that is meant to be refused is.

use crate::parse_metadata;
use fastdata_types::ErrorKind;
use std::path::{Path, PathBuf};

fn corpus() -> Option<PathBuf> {
    let found = std::env::var_os("FASTDATA_CORPUS").map(PathBuf::from).filter(|dir| dir.join("TABLES.json").is_file());
    if found.is_none() {
        eprintln!("skipped: FASTDATA_CORPUS does not name a directory with TABLES.json");
    }
    found
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn the_metadata_of_every_corpus_table_parses() {
    let Some(corpus) = corpus() else { return };
    let tables: Vec<serde_json::Value> = serde_json::from_slice(&std::fs::read(corpus.join("TABLES.json")).unwrap()).unwrap();
    let mut wrong = Vec::new();
    for table in &tables {
        let (path, file) = (table["table"].as_str().unwrap(), table["metadata"].as_str().unwrap());
        match parse_metadata(&std::fs::read(corpus.join(path).join("metadata").join(file)).unwrap()) {
            Ok(metadata) => {
                let found = (metadata.location.as_str(), u64::from(metadata.format_version));
                if found != (table["location"].as_str().unwrap(), table["format_version"].as_u64().unwrap()) {
                    wrong.push(format!("{path}: {found:?}"));
                }
            }
            Err(e) => wrong.push(format!("{path}: {e:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), tables.len(), wrong.join("\n"));
    assert_eq!(tables.len(), 90);
}

#[test]
fn every_metadata_file_of_the_corpus_parses_or_is_one_of_those_meant_to_be_refused() {
    const REFUSED: [&str; 13] = [
        "UnsupportedVersion",
        "CurrentSchemaNotFound",
        "MissingLastPartitionId",
        "MissingPartitionSpecs",
        "MissingSchemas",
        "MissingSortOrder",
        "MissingSchemaType",
        "NoValidSchema",
        "ViewMetadata",
        "ValidView",
        // Not even a format version.
        "big_query_error/metadata/v0.",
        // A name mapping that is an object, where the specification has a list.
        "name_mapping/warehouse_1/mydb/t1/metadata/v1.",
        "name_mapping/warehouse_1/mydb/t1/metadata/v2.",
    ];
    let Some(corpus) = corpus() else { return };
    let mut files = Vec::new();
    walk(&corpus, &mut files);
    files.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        let golden = name.starts_with("TableMetadata") || name.contains("ViewMetadata") || name.starts_with("MockMetadata");
        !name.starts_with('.') && (name.ends_with(".metadata.json") || (golden && name.ends_with(".json")))
    });
    let mut wrong = Vec::new();
    for path in &files {
        let must_fail = REFUSED.iter().any(|part| path.to_string_lossy().contains(part));
        match parse_metadata(&std::fs::read(path).unwrap()) {
            Ok(_) if must_fail => wrong.push(format!("{}: accepted", path.display())),
            Err(e) if !must_fail => wrong.push(format!("{}: {e:?}", path.display())),
            Err(e) if !matches!(e.kind(), ErrorKind::Corrupt | ErrorKind::Unsupported) => wrong.push(format!("{}: {e:?}", path.display())),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), files.len(), wrong.join("\n"));
    assert!(files.len() > 250, "{}", files.len());
}
