//! Inputs to start from: files of the corpus folder, as they are and in forms that a mutation gets into.
//!
//! Contract: what a function gives depends on the files' content and names only, in a fixed order; nothing comes twice; nothing is larger
//! than [`MAX_SEED`], since mutations of large inputs rarely hit anything.

use super::containers::{bodies, inflated};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

const MAX_SEED: usize = 24 << 10;

/// Filters, one a line: every construct of the language, right and wrong.
const FILTERS: &str = include_str!("../../seeds/filter.txt");

fn files(below: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(below)
        .unwrap_or_else(|error| panic!("{}: {error}", below.display()))
        .map(|entry| entry.unwrap_or_else(|error| panic!("{}: {error}", below.display())).path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push(path);
        }
    }
}

/// What `make` makes of the files whose names pass `wanted`, without doubles and without what is too large.
fn seeds(corpus: &Path, wanted: impl Fn(&str) -> bool, make: impl Fn(Vec<u8>) -> Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    files(corpus, &mut paths);
    paths.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(|name| !name.starts_with('.') && wanted(name)));
    let mut seen = HashSet::new();
    let contents = paths.into_iter().map(|path| std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    contents.flat_map(make).filter(|seed| seed.len() <= MAX_SEED && seen.insert(seed.clone())).collect()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Avro files whose schema has the field, as they are and inflated.
fn avro(corpus: &Path, field: &[u8]) -> Vec<Vec<u8>> {
    seeds(
        corpus,
        |name| name.ends_with(".avro"),
        |file| {
            let seeds = if contains(&file, field) { vec![inflated(&file), Some(file)] } else { vec![] };
            seeds.into_iter().flatten().collect()
        },
    )
}

pub fn manifests(corpus: &Path) -> Vec<Vec<u8>> {
    avro(corpus, b"\"file_path\"")
}

pub fn manifest_lists(corpus: &Path) -> Vec<Vec<u8>> {
    avro(corpus, b"\"manifest_path\"")
}

pub fn metadata(corpus: &Path) -> Vec<Vec<u8>> {
    let golden = |name: &str| ["TableMetadata", "MockMetadata"].iter().any(|start| name.starts_with(start)) && name.ends_with(".json");
    seeds(corpus, |name| name.ends_with(".metadata.json") || golden(name), |file| vec![file])
}

/// The bodies of vectors: the target puts the frame around them.
pub fn deletion_vectors(corpus: &Path) -> Vec<Vec<u8>> {
    seeds(corpus, |name| name.ends_with(".puffin") || name.ends_with("-position-index.bin"), |file| bodies(&file))
}

/// Our own texts, and what stands behind WHERE in the queries of other engines' tests.
pub fn filters(corpus: &Path) -> Vec<Vec<u8>> {
    let queries: serde_json::Value =
        serde_json::from_slice(&std::fs::read(corpus.join("QUERIES.json")).expect("the corpus has queries")).expect("the queries are JSON");
    let texts = queries.as_array().into_iter().flatten().filter_map(|query| query["sql"].as_str());
    let conditions = texts.filter_map(|sql| {
        let start = sql.to_ascii_lowercase().find(" where ")? + " where ".len();
        Some(sql.get(start..)?.trim_end_matches(';').trim().to_owned())
    });
    let mut seen = HashSet::new();
    own_filters().into_iter().chain(conditions.map(String::into_bytes)).filter(|text| seen.insert(text.clone())).collect()
}

pub fn own_filters() -> Vec<Vec<u8>> {
    FILTERS.lines().filter(|line| !line.is_empty()).map(|line| line.as_bytes().to_vec()).collect()
}
