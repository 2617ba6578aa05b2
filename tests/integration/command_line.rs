//! The command as a person meets it: output formats, exit statuses, messages with the next step.

use crate::support::{fail, fastdata, python, root, run, succeed};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// A small demo warehouse, made once for all tests here.
pub fn warehouse() -> &'static Path {
    static WAREHOUSE: OnceLock<TempDir> = OnceLock::new();
    WAREHOUSE
        .get_or_init(|| {
            let directory = tempfile::tempdir().unwrap();
            succeed(directory.path(), &["demo", "w", "--scale", "0.01"]);
            directory
        })
        .path()
}

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
fn unknown_names_are_refused_with_the_nearest_ones() {
    for (arguments, expected) in [
        (&["scan", "tpch.lineitme", "--warehouse", "w"][..], "lineitem"),
        (&["scan", "tpch.lineitem", "--select", "l_orderky", "--warehouse", "w"], "l_orderkey"),
        (&["scan", "tpch.lineitem", "--where", "l_orderky = 1", "--warehouse", "w"], "l_orderkey"),
        (&["scan", "tpch.lineitem", "--ref", "mian", "--warehouse", "w"], "main"),
        (&["scan", "tpch.lineitem", "--snapshot", "1", "--warehouse", "w"], "snapshot"),
        (&["scan", "tpch.lineitem", "--as-of", "1970-01-02", "--warehouse", "w"], "snapshot"),
        (&["tables", "tcph", "--warehouse", "w"], "tpch"),
        (&["tables", "nosuch", "--warehouse", "w"], "no namespace 'nosuch'"),
    ] {
        let (status, message) = fail(warehouse(), arguments);
        assert_eq!(status, 2, "{arguments:?}: {message}");
        assert!(message.contains(expected), "{arguments:?} should mention {expected}:\n{message}");
    }
}

#[test]
fn a_filter_that_does_not_type_check_names_position_and_type_before_any_reading() {
    let (status, message) =
        fail(warehouse(), &["scan", "tpch.lineitem", "--where", "l_orderkey > 1 AND l_comment > 7", "--warehouse", "w"]);
    assert_eq!(status, 2);
    assert!(message.contains("l_comment") && message.contains("string") && message.contains("20"), "{message}");
    assert_eq!(fail(warehouse(), &["scan", "tpch.lineitem", "--where", "l_orderkey >", "--warehouse", "w"]).0, 2);
}

#[test]
fn a_filter_may_begin_with_a_sign_and_a_negative_limit_is_refused_as_one() {
    let scan = ["scan", "tpch.nation", "--select", "n_nationkey", "--warehouse", "w"];
    let rows = succeed(warehouse(), &[&scan[..], &["--where", "-n_nationkey < -22"]].concat());
    assert_eq!(rows.lines().count(), 2, "{rows}");
    let (status, message) = fail(warehouse(), &[&scan[..], &["--limit", "-1"]].concat());
    assert!(status == 2 && message.contains("'-1'") && message.contains("0 or more"), "{message}");
    let (status, message) = fail(warehouse(), &[&scan[..], &["--sample", "-0.5"]].concat());
    assert!(status == 2 && message.contains("between 0 and 1"), "{message}");
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
fn the_timeout_is_obeyed() {
    // A listener that accepts and never answers: the catalog hangs until the deadline.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let config = format!("[catalogs.lake]\ntype = \"rest\"\nuri = \"http://{}\"\n", silent.local_addr().unwrap());
    std::fs::write(directory.path().join("fastdata.toml"), config).unwrap();
    let started = std::time::Instant::now();
    let (status, message) = fail(directory.path(), &["tables", "--timeout", "1s"]);
    assert!(started.elapsed() < std::time::Duration::from_secs(8), "{message}");
    assert_eq!(status, 8, "{message}");
}

#[test]
fn every_problem_of_the_configuration_is_reported_at_once() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("fastdata.toml"), "memroy = \"1GiB\"\nthreads = \"many\"\n").unwrap();
    let (status, message) = fail(directory.path(), &["tables"]);
    assert_eq!(status, 2);
    assert!(message.contains("memroy") && message.contains("threads") && message.contains("fastdata.toml"), "{message}");
}

/// What the file itself, its catalogs and their storage get wrong comes in one answer, each with its key and where it stands.
#[test]
fn problems_of_the_file_of_catalogs_and_of_their_storage_come_together() {
    let directory = tempfile::tempdir().unwrap();
    let text = "memroy = \"1GiB\"\ndefault-catalog = \"lak\"\n\
        [catalogs.lake]\nuri = \"https://c.example.com\"\nwarehose = \"w\"\ns3.endpoint = \"minio\"\ns3.access-key-id = \"k\"\n\
        [catalogs.team]\ntype = \"sql\"\nuri = \"sqlite:////x.db\"\n";
    std::fs::write(directory.path().join("fastdata.toml"), text).unwrap();
    let output = fastdata(directory.path()).args(["tables"]).env("FASTDATA_CATALOG__HIVE__URI", "nonsense").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    for line in [
        "fastdata.toml: memroy: unknown key; did you mean 'memory'?",
        "fastdata.toml: default-catalog: 'lak' is not among the catalogs (hive, lake, team)",
        "fastdata.toml: catalogs.lake: unknown property 'warehose' (did you mean: warehouse?)",
        "fastdata.toml: catalogs.lake: storage properties: s3.endpoint: 'minio' is not of the form",
        "fastdata.toml: catalogs.team: property 'warehouse' is missing",
        "environment: catalogs.hive: property 'type' is missing",
    ] {
        assert!(message.contains(line), "{line}\nis missing in:\n{message}");
    }
    assert!(message.contains("6 problems") && message.contains("s3.secret-access-key"), "{message}");
    let doctor = run(directory.path(), &["doctor"]);
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert!(said.contains("FAIL  configuration") && said.contains("memroy") && said.contains("warehose"), "{said}");
}

#[test]
fn help_is_there_for_every_command() {
    for command in ["", "tables", "describe", "snapshots", "files", "plan", "scan", "serve", "demo", "doctor"] {
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

/// Only the name is wrong, and no table is to be repaired.
#[test]
fn a_metadata_file_that_was_named_and_is_not_there_is_not_found() {
    let (status, message) = fail(warehouse(), &["scan", "nosuch.metadata.json"]);
    assert!(status == 2 && message.contains("not-found") && message.contains("nosuch.metadata.json"), "{status}: {message}");
    assert!(!message.contains("repair"), "{message}");
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

#[test]
fn options_without_effect_are_refused_by_name() {
    let server = ["scan", "a.b", "--server", "grpc://127.0.0.1:1"];
    for (command, idle) in [
        (&server[..], &["--memory", "1GiB"][..]),
        (&server, &["--threads", "1"]),
        (&server, &["--moved"]),
        (&server, &["--rewrite", "a=b"]),
        (&server, &["--allow", "/"]),
        (&server, &["--warehouse", "w"]),
        (&server, &["--config", "x.toml"]),
        (&["serve", "--warehouse", "w", "--listen", "127.0.0.1:0"], &["--timeout", "1s"]),
        (&["serve", "--warehouse", "w", "--listen", "127.0.0.1:0"], &["--moved"]),
    ] {
        let (status, message) = fail(warehouse(), &[command, idle].concat());
        assert!(status == 2 && message.contains(&format!("{} has no effect", idle[0])), "{idle:?}: {status}: {message}");
    }
    let (_, message) = fail(warehouse(), &[&server[..], &["--moved", "--memory", "1GiB"]].concat());
    assert!(message.contains("--moved, --memory have no effect"), "{message}");
    let (status, message) = fail(warehouse(), &["scan", "tpch.region", "--warehouse", "w", "--memory", "1KiB"]);
    assert!(status == 2 && message.contains("--memory") && message.contains("1MiB"), "{message}");
    // The variable holds for every command.
    let output = fastdata(warehouse()).args(server).env("FASTDATA_WAREHOUSE", "w").output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Names from tables and requests are quoted in messages: they must not drive the terminal.
#[test]
fn messages_show_control_characters_and_send_none() {
    let (_, stderr) = fail(warehouse(), &["describe", "demo.\u{1b}[2Jgone\r", "--warehouse", "w"]);
    assert!(stderr.contains("[2Jgone") && !stderr.contains(['\u{1b}', '\r']), "{stderr:?}");
}
