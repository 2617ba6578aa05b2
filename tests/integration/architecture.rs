//! The walls of the house: stages know the contracts and not one another.

use crate::support::root;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The `fastdata-*` crates each crate depends on, development dependencies aside.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        let table: toml::Table = std::fs::read_to_string(&manifest).unwrap().parse().unwrap();
        let name = table["package"]["name"].as_str().unwrap().to_owned();
        let ours = table.get("dependencies").and_then(|d| d.as_table()).into_iter().flat_map(|d| d.keys());
        found.insert(name, ours.filter(|d| d.starts_with("fastdata-")).cloned().collect());
    }
    found
}

#[test]
fn stage_crates_depend_on_types_only() {
    for (name, ours) in dependencies() {
        let allowed: &[&str] = match name.as_str() {
            "fastdata-types" => &[],
            // Tests may use what makes tables; nothing that ships depends on the test kit.
            "fastdata-testkit" => &["fastdata-types", "fastdata-write", "fastdata-proxy"],
            "fastdata-proxy" => &[],
            _ => &["fastdata-types"],
        };
        for dependency in &ours {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{name} depends on {dependency}: stages meet in src/engine.rs and src/assemble.rs only"
            );
        }
    }
}

fn sources(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn stages_meet_in_the_engine_and_its_wiring_only() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    assert!(files.len() > 10);
    let stages = ["fastdata_store", "fastdata_catalog", "fastdata_filter", "fastdata_plan", "fastdata_read"];
    for file in files {
        let relative = file.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        // Whole words: names of metrics begin like names of stages.
        let words: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        let named: Vec<&str> = stages.into_iter().filter(|stage| words.contains(stage)).collect();
        assert!(
            named.is_empty() || relative == "src/engine.rs" || relative == "src/assemble.rs",
            "{relative} names {named:?}: go through the engine"
        );
    }
}

#[test]
fn the_iceberg_crate_stays_behind_the_catalog() {
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(path.join("Cargo.toml")).unwrap();
        let brings = text.lines().any(|line| line.starts_with("iceberg"));
        assert!(!brings || path.ends_with("catalog"), "{} brings the iceberg crate", path.display());
    }
}

#[test]
fn every_source_file_says_what_it_is_for() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    sources(&root().join("crates"), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let sibling_of_tests =
            file.file_name().is_some_and(|name| name == "tests.rs") || file.components().any(|c| c.as_os_str() == "tests");
        assert!(
            text.starts_with("//!") || sibling_of_tests || file.to_str().unwrap().contains("/unify/"),
            "{} does not open with //!",
            file.display()
        );
    }
}

/// A test binary of its own links the whole tree once more.
#[test]
fn tests_of_a_crate_stand_beside_its_code_and_the_others_in_one_binary() {
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let path = entry.unwrap().path();
        for folder in ["tests", "benches", "examples"] {
            assert!(!path.join(folder).exists(), "{}: put tests beside the code or into tests/integration", path.join(folder).display());
        }
    }
    let root_tests =
        std::fs::read_dir(root().join("tests")).unwrap().filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "rs"));
    assert_eq!(root_tests.count(), 0, "tests/ has one binary: tests/integration");
}
