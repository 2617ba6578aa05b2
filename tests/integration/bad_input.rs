//! What a person does wrong and what happens to tables: each is named, with what to do, and never a short success.

use crate::command_line::warehouse;
use crate::support::{fail, fastdata, run, succeed};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The rows of `demo.events`.
fn all_rows() -> usize {
    succeed(warehouse(), &["scan", "demo.events", "--select", "event_id", "--warehouse", "w"]).lines().count()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A copy of `demo.events` in a directory `t`, away from its catalog.
fn moved_table() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    copy(&warehouse().join("w/demo/events"), &directory.path().join("t"));
    directory
}

fn files_of(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_of(&path, found) } else { found.push(path) }
    }
}

fn newest_metadata(table: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    files_of(&table.join("metadata"), &mut files);
    files.retain(|path| path.to_str().unwrap().ends_with(".metadata.json"));
    files.sort();
    files.reverse();
    files
}

#[test]
fn a_range_that_is_none_and_a_time_before_the_first_snapshot_say_which_snapshots_exist() {
    let snapshots: Vec<Value> =
        serde_json::from_str(&succeed(warehouse(), &["snapshots", "demo.events", "-o", "json", "--warehouse", "w"])).unwrap();
    let id = |at: usize| snapshots[at]["snapshotId"].as_str().unwrap();
    let (first, last) = (id(0), id(snapshots.len() - 1));
    for (arguments, said) in [
        (vec!["--from", last, "--to", first], "is no ancestor of"),
        (vec!["--from", "17"], "there is no snapshot 17"),
        (vec!["--as-of", "1970-01-02"], "no snapshot as of 1970-01-02"),
        (vec!["--snapshot", "17"], "there is no snapshot 17"),
    ] {
        let (status, message) = fail(warehouse(), &[&["scan", "demo.events", "--warehouse", "w"][..], &arguments].concat());
        assert_eq!(status, 2, "{arguments:?}: {message}");
        assert!(message.contains(said) && message.contains(first), "{arguments:?}: {message}");
    }
}

/// Each file of a table in turn is missing, cut, or followed by what does not belong to it. A scan reads all rows, where it does not
/// need that file, or fails by the file's name.
#[test]
fn missing_cut_and_altered_files_are_named_and_never_a_short_success() {
    let directory = moved_table();
    let rows = all_rows();
    let mut files = Vec::new();
    files_of(&directory.path().join("t"), &mut files);
    files.retain(|path| path.extension().is_some_and(|e| e == "parquet" || e == "avro"));
    files.sort();
    let (mut named_data, mut named_metadata) = (0, 0);
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        for (damage, content) in
            [("missing", None), ("cut", Some(bytes[..bytes.len() / 2].to_vec())), ("altered", Some([&bytes[..], b"junk"].concat()))]
        {
            match content {
                Some(content) => std::fs::write(path, content).unwrap(),
                None => std::fs::remove_file(path).unwrap(),
            }
            let output = run(directory.path(), &["scan", "./t", "--moved", "--select", "event_id", "-o", "none", "--stats=json"]);
            let stderr = String::from_utf8(output.stderr).unwrap();
            if output.status.success() {
                let stats: Value = serde_json::from_str(stderr.lines().last().unwrap()).unwrap();
                assert_eq!(stats["rows"], rows, "{damage} {}", path.display());
            } else {
                let kind = if damage == "missing" { "missing-file" } else { "corrupt" };
                let name = path.file_name().unwrap().to_str().unwrap();
                assert_eq!(output.status.code(), Some(4), "{damage} {name}: {stderr}");
                assert!(stderr.starts_with(&format!("error: {kind}\n")) || stderr.contains(&format!("\nerror: {kind}\n")), "{stderr}");
                assert!(stderr.contains(name), "{damage} {name}: {stderr}");
                *(if path.extension().unwrap() == "avro" { &mut named_metadata } else { &mut named_data }) += 1;
            }
            std::fs::write(path, &bytes).unwrap();
        }
    }
    assert!(named_data >= 15 && named_metadata >= 9, "{named_data} of data, {named_metadata} of metadata, {} files", files.len());
}

#[test]
fn a_copied_table_is_refused_until_it_is_said_where_it_came_from() {
    let directory = moved_table();
    let (status, message) = fail(directory.path(), &["scan", "t/", "-o", "none"]);
    assert_eq!(status, 5, "{message}");
    assert!(message.contains("location-not-allowed") && message.contains("help: ") && message.contains("--moved"), "{message}");
    let described = succeed(directory.path(), &["describe", "./t"]);
    assert!(described.contains("note") && described.contains("--moved"), "{described}");
    let from = std::fs::canonicalize(warehouse().join("w/demo/events")).unwrap();
    let rewrite = format!("file://{}={}", from.display(), directory.path().join("t").display());
    let metadata = newest_metadata(&directory.path().join("t")).remove(0);
    for arguments in [&["./t", "--moved"][..], &["./t", "--rewrite", &rewrite], &[metadata.to_str().unwrap(), "--moved"]] {
        let rows = succeed(directory.path(), &[&["scan", "--select", "event_id"], arguments].concat()).lines().count();
        assert_eq!(rows, all_rows(), "{arguments:?}");
    }
}

/// A hint that lags, compressed metadata, and no hint at all.
#[test]
fn a_table_directory_is_read_by_its_hint_however_late_and_else_by_a_guess_that_is_said_to_be_one() {
    use std::io::Write;
    let directory = moved_table();
    let folder = directory.path().join("t/metadata");
    let files = newest_metadata(&directory.path().join("t"));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&std::fs::read(&files[0]).unwrap()).unwrap();
    std::fs::write(folder.join("v2.gz.metadata.json"), gzip.finish().unwrap()).unwrap();
    std::fs::copy(&files[1], folder.join("v1.metadata.json")).unwrap();
    std::fs::write(folder.join("version-hint.text"), "1\n").unwrap();
    let scan = || {
        let output = fastdata(directory.path()).args(["scan", "./t", "--moved", "--select", "event_id"]).output().unwrap();
        assert!(output.status.success());
        (output.stdout.iter().filter(|byte| **byte == b'\n').count(), String::from_utf8(output.stderr).unwrap())
    };
    let (rows, note) = scan();
    assert_eq!(rows, all_rows());
    assert!(note.contains("note: ") && note.contains("lags 1 behind") && note.contains("v2.gz.metadata.json"), "{note}");
    for name in ["version-hint.text", "v1.metadata.json", "v2.gz.metadata.json"] {
        std::fs::remove_file(folder.join(name)).unwrap();
    }
    let (rows, note) = scan();
    assert_eq!(rows, all_rows());
    assert!(note.contains("note: ") && note.contains("guess"), "{note}");
}

#[test]
fn an_unreachable_catalog_is_named_with_its_cause_and_whether_repeating_helps() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[catalogs.lake]\ntype = \"rest\"\nuri = \"http://127.0.0.1:1/catalog\"\n";
    std::fs::write(directory.path().join("fastdata.toml"), text).unwrap();
    let (status, message) = fail(directory.path(), &["scan", "lake.ns.t", "--timeout", "20s"]);
    assert_eq!(status, 7, "{message}");
    assert!(message.contains("http://127.0.0.1:1") && message.contains("refused"), "{message}");
    assert!(message.contains("trying again may help"), "{message}");
}

#[test]
fn contradictory_arguments_are_refused_by_name() {
    for (arguments, said) in [
        (&["scan", "demo.events", "--snapshot", "1", "--ref", "main"][..], "--ref"),
        (&["scan", "demo.events", "--to", "1"], "--from"),
        (&["scan", "demo.events", "--sample", "1.5"], "between 0 and 1"),
        (&["scan", "demo.events", "--batch-rows", "0"], "batch rows"),
        (&["scan", "demo.events", "-o", "none", "--output", "x"], "-o none"),
        (&["scan", "demo.events", "--rewrite", "nonsense"], "FROM=TO"),
        (&["scan", "demo.events", "--memory", "lots"], "512MiB"),
        (&["scan", "demo.events", "--select", "event_id,,kind"], "empty name"),
        (&["scan", "events"], "no namespace"),
    ] {
        let (status, message) = fail(warehouse(), &[arguments, &["--warehouse", "w"]].concat());
        assert_eq!(status, 2, "{arguments:?}: {message}");
        assert!(message.contains(said), "{arguments:?} should mention {said}:\n{message}");
    }
}
