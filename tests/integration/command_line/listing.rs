//! What the command shows of tables without their rows, and what `doctor` and `--help` say.

use super::warehouse;
use crate::support::{fail, root, run, succeed};
use std::path::Path;

#[test]
fn tables_lists_what_the_demo_made_and_a_second_demo_reuses_it() {
    let listed = succeed(warehouse(), &["tables", "--warehouse", "w"]);
    for table in ["demo.events", "tpch.lineitem", "tpch.orders", "tpch.customer"] {
        assert!(listed.lines().any(|line| line == table), "{table} missing in:\n{listed}");
    }
    let files = || walk(&warehouse().join("w"));
    let before = files();
    succeed(warehouse(), &["demo", "w", "--scale", "0.01"]);
    assert_eq!(files(), before, "a second run makes nothing new");
}

fn walk(directory: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if entry.path().extension().is_some_and(|e| e == "parquet" || e == "avro" || e == "json" || e == "puffin") {
                found.push((entry.path().display().to_string(), entry.metadata().unwrap().len()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn plan_says_what_was_pruned_by_which_rule() {
    let json =
        succeed(warehouse(), &["plan", "tpch.lineitem", "--where", "l_shipdate >= DATE '1998-06-01'", "-o", "json", "--warehouse", "w"]);
    let plan: serde_json::Value = serde_json::from_str(&json).unwrap();
    let number = |key: &str| plan[key].as_u64().unwrap_or_else(|| panic!("{key} in {plan}"));
    assert!(number("files") > 0);
    assert!(number("files_pruned_by_partition") + number("files_pruned_by_bounds") + number("manifests_pruned_by_summary") > 0, "{plan}");
    assert_eq!(number("files_considered"), number("files") + number("files_pruned_by_partition") + number("files_pruned_by_bounds"));
    let text = succeed(warehouse(), &["plan", "tpch.lineitem", "--warehouse", "w"]);
    for word in ["manifests", "row groups", "bytes", "deletes"] {
        assert!(text.contains(word), "{word} missing in:\n{text}");
    }
}

#[test]
fn describe_snapshots_and_files_show_the_table() {
    let describe = succeed(warehouse(), &["describe", "demo.events", "--warehouse", "w"]);
    for word in ["schema", "partition spec", "snapshot", "rows"] {
        assert!(describe.contains(word), "{word} missing in:\n{describe}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&succeed(warehouse(), &["describe", "demo.events", "-o", "json", "--warehouse", "w"])).unwrap();
    assert!(json["schema"]["fields"].as_array().is_some_and(|fields| !fields.is_empty()));
    let snapshots = succeed(warehouse(), &["snapshots", "demo.events", "--warehouse", "w"]);
    assert!(snapshots.lines().count() > 2, "{snapshots}");
    let files = succeed(warehouse(), &["files", "demo.events", "-o", "json", "--warehouse", "w"]);
    let files: serde_json::Value = serde_json::from_str(&files).unwrap();
    assert!(files.as_array().unwrap().iter().all(|f| f["path"].as_str().unwrap().contains("parquet")));
}

#[test]
fn doctor_passes_on_the_demo_and_says_what_to_do_where_nothing_is() {
    let good = succeed(warehouse(), &["doctor", "--warehouse", "w"]);
    assert!(good.contains("everything works") && good.contains("read"), "{good}");
    let directory = tempfile::tempdir().unwrap();
    let bad = run(directory.path(), &["doctor", "--warehouse", "nowhere"]);
    assert!(!bad.status.success());
    let text = format!("{}{}", String::from_utf8_lossy(&bad.stdout), String::from_utf8_lossy(&bad.stderr));
    assert!(text.contains("FAIL") && text.contains("demo"), "{text}");
    assert_eq!(bad.status.code(), Some(2));
}

/// Two catalogs over the demo's tables.
fn two_catalogs() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let demo = warehouse().join("w").canonicalize().unwrap();
    let catalog = |name: &str, uri: &str| {
        format!("[catalogs.{name}]\ntype = \"sql\"\nuri = \"sqlite:///{uri}\"\nwarehouse = \"{}\"\n", demo.display())
    };
    let good = catalog("lake", &format!("{}/catalog.db", demo.display()));
    std::fs::write(directory.path().join("fastdata.toml"), format!("default-catalog = \"lake\"\n{good}{}", catalog("another", "/none.db")))
        .unwrap();
    directory
}

#[test]
fn doctor_reads_from_every_catalog_and_others_say_which_one_failed() {
    let directory = two_catalogs();
    let settings = std::fs::read_to_string(directory.path().join("fastdata.toml")).unwrap();
    let doctor = run(directory.path(), &["doctor"]);
    let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(said.contains("FAIL  catalog another") && said.contains("ok    read lake."), "{said}");
    let (status, said) = fail(directory.path(), &["tables"]);
    assert!(status != 0 && said.contains("catalog 'another'"), "{said}");
    let (_, said) = fail(directory.path(), &["count", "lkae.demo.events"]);
    assert!(said.contains("'lkae' is no configured catalog: did you mean 'lake'?"), "{said}");
    std::fs::write(
        directory.path().join("fastdata.toml"),
        settings.replace("/none.db", &format!("{}/catalog.db", warehouse().join("w").canonicalize().unwrap().display()).as_str()[1..]),
    )
    .unwrap();
    let said = succeed(directory.path(), &["doctor"]);
    assert!(said.contains("ok    read lake.") && said.contains("ok    read another."), "{said}");
}

#[test]
fn doctor_ends_with_the_status_of_the_first_failure() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(directory.path().join("t/metadata")).unwrap();
    std::fs::write(directory.path().join("t/metadata/v1.metadata.json"), "no metadata").unwrap();
    let bad = run(directory.path(), &["doctor", "./t"]);
    let text = String::from_utf8_lossy(&bad.stdout);
    assert!(text.contains("FAIL  read ./t: corrupt"), "{text}");
    assert_eq!(bad.status.code(), Some(4));
}

#[test]
fn help_is_there_for_every_command() {
    for command in ["", "tables", "describe", "snapshots", "files", "plan", "count", "shards", "scan", "serve", "demo", "doctor"] {
        let arguments: Vec<&str> = [command, "--help"].into_iter().filter(|a| !a.is_empty()).collect();
        assert!(succeed(root(), &arguments).contains("Usage"), "{command}");
    }
}

/// Writers put the real path of a table into its metadata; the person who names it may use another one.
#[test]
fn tables_are_read_by_whatever_path_leads_to_them() {
    let root = tempfile::tempdir().unwrap();
    let here = root.path().join("a/b");
    std::fs::create_dir_all(&here).unwrap();
    std::os::unix::fs::symlink(warehouse().join("w"), root.path().join("link")).unwrap();
    let region = warehouse().join("w/tpch/region/metadata");
    let metadata = std::fs::read_dir(region).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let metadata = metadata.filter(|name| name.ends_with(".metadata.json")).max().unwrap();
    let (file, dotted) = (format!("../../link/tpch/region/metadata/{metadata}"), format!("{}/a/../link", root.path().display()));
    let absolute = root.path().join("link/tpch/region");
    for arguments in [
        &["tpch.region", "--warehouse", "../../link"][..],
        &["tpch.region", "--warehouse", &dotted],
        &["../../link/tpch/region"],
        &["../../link/tpch/region/metadata/"],
        &["../b/../../link/tpch/nation/../region", "--moved"],
        &[absolute.to_str().unwrap()],
        &[&format!("file://{}", absolute.display())],
        &[&file],
    ] {
        assert_eq!(succeed(&here, &[&["scan"], arguments].concat()).lines().count(), 5, "{arguments:?}");
        let notes = run(&here, &[&["scan", "-o", "none"], arguments].concat()).stderr;
        assert_eq!(String::from_utf8(notes).unwrap().matches("--moved").count(), 0, "{arguments:?}");
    }
    let settings = format!("[catalogs.lake]\nuri = \"sqlite:///{}/link/catalog.db\"\nwarehouse = \"../../link\"\n", root.path().display());
    std::fs::write(here.join("fastdata.toml"), settings).unwrap();
    assert_eq!(succeed(&here, &["scan", "lake.tpch.region"]).lines().count(), 5);
}

/// A namespace may be called as a catalog is: what is listed must open.
#[test]
fn every_table_is_listed_under_a_name_that_opens_it() {
    let directory = tempfile::tempdir().unwrap();
    let w = warehouse().join("w");
    let w = w.display();
    std::fs::write(
        directory.path().join("fastdata.toml"),
        format!("[catalogs.tpch]\nuri = \"sqlite:///{w}/catalog.db\"\nwarehouse = \"{w}\"\n"),
    )
    .unwrap();
    let listed = succeed(directory.path(), &["tables"]);
    assert!(listed.lines().any(|line| line == "tpch.tpch.nation") && listed.lines().any(|line| line == "demo.readings"), "{listed}");
    let json: Vec<serde_json::Value> = serde_json::from_str(&succeed(directory.path(), &["tables", "-o", "json"])).unwrap();
    for (line, row) in listed.lines().zip(&json) {
        assert_eq!(row["table"], line);
        succeed(directory.path(), &["describe", line]);
    }
}
