//! What `scan` writes, in which format and order, and what is left of a scan that ends early.

use super::warehouse;
use crate::support::{fail, fastdata, python, run, succeed};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

#[test]
fn jsonl_is_the_default_in_a_pipe_and_every_line_is_an_object() {
    let out = succeed(warehouse(), &["scan", "tpch.nation", "--warehouse", "w"]);
    let rows: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 25);
    assert!(rows.iter().any(|row| row["n_name"] == "FRANCE"));
}

#[test]
fn every_format_returns_the_same_rows() {
    let count = |format: &str, name: &str| {
        let path = warehouse().join(name);
        succeed(warehouse(), &["scan", "tpch.nation", "--warehouse", "w", "-o", format, "--output", path.to_str().unwrap()]);
        std::fs::read(path).unwrap()
    };
    let csv = String::from_utf8(count("csv", "n.csv")).unwrap();
    assert_eq!(csv.lines().count(), 26);
    assert!(csv.starts_with("n_nationkey,n_name,"));
    let parquet = parquet::file::reader::SerializedFileReader::new(bytes::Bytes::from(count("parquet", "n.parquet"))).unwrap();
    assert_eq!(parquet::file::reader::FileReader::metadata(&parquet).file_metadata().num_rows(), 25);
    let arrow = arrow::ipc::reader::FileReader::try_new(std::io::Cursor::new(count("arrow", "n.arrow")), None).unwrap();
    assert_eq!(arrow.map(|b| b.unwrap().num_rows()).sum::<usize>(), 25);
    let stream = run(warehouse(), &["scan", "tpch.nation", "--warehouse", "w", "-o", "arrow"]).stdout;
    let arrow = arrow::ipc::reader::StreamReader::try_new(std::io::Cursor::new(stream), None).unwrap();
    assert_eq!(arrow.map(|b| b.unwrap().num_rows()).sum::<usize>(), 25);
    let table = succeed(warehouse(), &["scan", "tpch.nation", "--warehouse", "w", "-o", "table", "--limit", "3"]);
    assert!(table.contains("n_name") && table.contains("(3 rows)"), "{table}");
    let none = run(warehouse(), &["scan", "tpch.nation", "--warehouse", "w", "-o", "none"]);
    assert!(none.stdout.is_empty() && String::from_utf8_lossy(&none.stderr).contains("25 rows"));
}

/// Every batch of a scan has dictionaries of its own, also in structs and lists; a file has one for each column.
#[test]
fn an_arrow_file_of_dictionaries_reads_back_as_one_of_plain_strings() {
    let written = |strings: &str| {
        let path = warehouse().join(format!("{strings}.arrow"));
        let output = path.to_str().unwrap();
        let columns = ["--select", "user_id,kind", "--batch-rows", "700", "--strings", strings];
        let scan = [&["scan", "demo.events", "--order", "stable", "--warehouse", "w"], &columns[..]].concat();
        succeed(warehouse(), &[&scan[..], &["-o", "arrow", "--output", output]].concat());
        path
    };
    let rows = |path: &Path| {
        let file = std::fs::File::open(path).unwrap();
        let batches = arrow::ipc::reader::FileReader::try_new(file, None).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        assert!(batches.len() > 50, "{} batches", batches.len());
        let mut lines = arrow::json::LineDelimitedWriter::new(Vec::new());
        lines.write_batches(&batches.iter().collect::<Vec<_>>()).unwrap();
        lines.finish().unwrap();
        String::from_utf8(lines.into_inner()).unwrap()
    };
    let (dictionaries, plain) = (written("dictionary"), written("utf8"));
    assert!(rows(&dictionaries) == rows(&plain));
    let Some(python) = python() else { return };
    let script = "import pyarrow.ipc, sys\na, b = (pyarrow.ipc.open_file(path).read_all() for path in sys.argv[1:])\n\
        assert 'dictionary' in str(a.schema) and a.to_pylist() == b.to_pylist() and a.num_rows > 50000";
    let output = Command::new(python).args(["-c", script]).args([dictionaries, plain]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_name_of_the_file_decides_the_format_unless_one_is_given() {
    let written = |name: &str, format: &[&str]| {
        let path = warehouse().join(name);
        let scan = ["scan", "tpch.nation", "--warehouse", "w", "--output", path.to_str().unwrap()];
        succeed(warehouse(), &[&scan[..], format].concat());
        String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
    };
    for (name, format, start) in [
        ("name.parquet", &[][..], "PAR1"),
        ("name.CSV", &[], "n_nationkey,"),
        ("name.arrow", &[], "ARROW1"),
        ("name.feather", &[], "ARROW1"),
        ("name.ipc", &[], "ARROW1"),
        ("name.jsonl", &[], "{\""),
        ("name.ndjson", &[], "{\""),
        ("name.json", &[], "{\""),
        ("name.txt", &[], "{\""),
        ("name", &[], "{\""),
        ("other.parquet", &["-o", "csv"], "n_nationkey,"),
    ] {
        assert!(written(name, format).starts_with(start), "{name} {format:?}");
    }
}

/// A blank line is no row to most readers.
#[test]
fn a_csv_of_one_column_keeps_its_nulls() {
    let scan = ["scan", "demo.events", "--select", "campaign", "--order", "stable", "--warehouse", "w", "-o"];
    let json = succeed(warehouse(), &[&scan[..], &["jsonl"]].concat());
    let csv = succeed(warehouse(), &[&scan[..], &["csv"]].concat());
    let nulls = json.lines().filter(|line| *line == "{\"campaign\":null}").count();
    assert!(nulls > 100 && nulls < json.lines().count() - 100, "{nulls} nulls");
    assert_eq!(csv.lines().count(), json.lines().count() + 1);
    assert_eq!(csv.lines().filter(|line| *line == "NULL").count(), nulls);
    assert!(csv.lines().all(|line| !line.is_empty()));
    let several = succeed(warehouse(), &["scan", "demo.events", "--select", "event_id,campaign", "--warehouse", "w", "-o", "csv"]);
    assert_eq!(several.lines().filter(|line| line.ends_with(',')).count(), nulls);
    let Some(python) = python() else { return };
    let path = warehouse().join("campaign.csv");
    std::fs::write(&path, csv).unwrap();
    let script = "import pyarrow.csv as c, sys\no = c.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False)\n\
        t = c.read_csv(sys.argv[1], convert_options=o)\nprint(t.num_rows, t[0].null_count)";
    let output = Command::new(python).args(["-c", script]).arg(path).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), format!("{} {nulls}", json.lines().count()));
}

#[test]
fn a_long_table_has_one_header_and_stays_aligned() {
    let out = succeed(warehouse(), &["scan", "tpch.lineitem", "--warehouse", "w", "-o", "table", "--limit", "4500", "--order", "stable"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.iter().filter(|line| line.contains("l_orderkey")).count(), 1);
    assert_eq!((lines.len(), lines[4501]), (4502, "(4 500 rows)"));
    let header: usize = lines[0].find("l_partkey").unwrap();
    for line in &lines[1..4501] {
        assert!(line[header - 1..].starts_with(' ') && !line[header..].starts_with(' '), "{line}");
    }
}

#[test]
fn a_failed_scan_leaves_no_file_behind() {
    let directory = tempfile::tempdir().unwrap();
    let warehouse = warehouse().join("w");
    let target = directory.path().join("out.jsonl");
    let arguments = [
        "scan",
        "tpch.lineitem",
        "--where",
        "l_nothing = 1",
        "--output",
        target.to_str().unwrap(),
        "--warehouse",
        warehouse.to_str().unwrap(),
    ];
    assert_eq!(fail(directory.path(), &arguments).0, 2);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let mut child = fastdata(warehouse())
        .args(["scan", "tpch.lineitem", "--warehouse", "w"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    drop(reader);
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(errors, "");
}

/// A scan whose reader has stalled is stuck in a write: Ctrl-C must end it all the same.
#[test]
fn ctrl_c_stops_a_stalled_scan_at_once() {
    let mut child = fastdata(warehouse()).args(["scan", "tpch.lineitem", "--warehouse", "w"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::with_capacity(64, child.stdout.take().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "the pipe holds less than the table");
    interrupt(child.id());
    let started = std::time::Instant::now();
    let status = child.wait().unwrap();
    assert!(started.elapsed() < std::time::Duration::from_secs(2));
    assert_eq!(status.code(), Some(130));
    drop(reader);
}

/// While the scan writes, the half file is there; after Ctrl-C it is not.
#[test]
fn ctrl_c_removes_the_half_file() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("out.jsonl");
    let warehouse = warehouse().join("w");
    // Enough scans in a row that one is caught half way.
    for _ in 0..20 {
        let mut child = fastdata(directory.path())
            .args(["scan", "tpch.lineitem", "--threads", "1", "--output"])
            .arg(&target)
            .arg("--warehouse")
            .arg(&warehouse)
            .spawn()
            .unwrap();
        while std::fs::read_dir(directory.path()).unwrap().count() == 0 && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        interrupt(child.id());
        let interrupted = child.wait().unwrap().code() == Some(130);
        if interrupted {
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "a half file was left");
            return;
        }
        let _ = std::fs::remove_file(&target);
    }
    panic!("no scan was caught half way");
}

fn interrupt(pid: u32) {
    let done = Command::new("kill").args(["-INT", &pid.to_string()]).status().unwrap();
    assert!(done.success());
}

#[test]
fn a_filtered_scan_returns_what_a_full_scan_filtered_by_hand_does() {
    let all =
        succeed(warehouse(), &["scan", "tpch.lineitem", "--select", "l_orderkey,l_linenumber,l_quantity,l_shipdate", "--warehouse", "w"]);
    let mut by_hand: Vec<&str> = all
        .lines()
        .filter(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            row["l_quantity"].as_str().unwrap().parse::<f64>().unwrap() > 45.0 && row["l_shipdate"].as_str().unwrap() >= "1997-01-01"
        })
        .collect();
    let filter = "l_quantity > 45 AND l_shipdate >= DATE '1997-01-01'";
    let filtered = succeed(
        warehouse(),
        &["scan", "tpch.lineitem", "--select", "l_orderkey,l_linenumber,l_quantity,l_shipdate", "--where", filter, "--warehouse", "w"],
    );
    let mut filtered: Vec<&str> = filtered.lines().collect();
    by_hand.sort_unstable();
    filtered.sort_unstable();
    assert!(!by_hand.is_empty() && by_hand == filtered, "{} by hand, {} filtered", by_hand.len(), filtered.len());
}

#[test]
fn stable_order_is_the_same_on_any_number_of_threads_and_at_any_budget() {
    let scan = |threads: &str, memory: &str| {
        succeed(
            warehouse(),
            &[
                "scan",
                "tpch.lineitem",
                "--order",
                "stable",
                "--threads",
                threads,
                "--memory",
                memory,
                "--batch-rows",
                "1000",
                "--warehouse",
                "w",
            ],
        )
    };
    let expected = scan("1", "512MiB");
    assert!(expected.lines().count() > 50_000);
    assert!(expected == scan("2", "64MiB") && expected == scan("5", "1GiB"));
}
