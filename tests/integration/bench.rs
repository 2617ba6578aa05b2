//! `fastdata bench` against a real store: what it measures, and what it says where it cannot.

use crate::support::{fail, fastdata, root};
use fastdata_testkit::services::minio::Minio;
use std::process::Command;

fn bench(store: &Minio, bucket: &str, folder: &std::path::Path, latency: &str) -> Command {
    let mut command = fastdata(folder);
    command.args(["bench", "--endpoint", store.endpoint(), "--bucket", bucket, "--rounds", "1", "--latency", latency]);
    // What the environment says of another store is not meant.
    command.env("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1").env("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    let properties = store.properties();
    command.env("AWS_ACCESS_KEY_ID", &properties["s3.access-key-id"]).env("AWS_SECRET_ACCESS_KEY", &properties["s3.secret-access-key"]);
    command
}

#[test]
fn scans_of_a_store_are_measured_beside_their_ceiling() {
    let Some(store) = Minio::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    store.s3().create_bucket("measured");
    let tables = "tpch.lineitem,ml.embeddings";
    let output = bench(store, "measured", folder.path(), "100ms")
        .args(["--bandwidth", "2MB", "--scale", "0.002", "--tables", tables, "-o", "json", "--report", "r.json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read(folder.path().join("r.json")).unwrap(), output.stdout);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let measured = report["tables"].as_object().unwrap();
    let mut cpu_seconds = 0.0;
    assert_eq!(measured.keys().collect::<Vec<_>>(), ["ml.embeddings", "tpch.lineitem"]);
    for (table, figures) in measured {
        assert!(figures["rows"].as_u64().unwrap() >= 400 && figures["bytes"].as_u64().unwrap() > 100_000, "{table}: {figures}");
        let scans = figures["scans"].as_object().unwrap();
        assert_eq!(scans.keys().collect::<Vec<_>>(), ["cli", "flight"]);
        for scan in std::iter::once(&figures["ceiling"]).chain(scans.values()) {
            let seconds = scan["seconds"].as_f64().unwrap();
            assert!(seconds >= 0.1 && scan["gb_per_second"].as_f64().unwrap() > 0.0, "{table}: {scan}");
        }
        let ceiling = &figures["ceiling"];
        // Each request has a connection of its own.
        let alone = figures["bytes"].as_f64().unwrap() / ceiling["requests"].as_f64().unwrap();
        assert!(ceiling["seconds"].as_f64().unwrap() > 0.9 * alone / 2e6, "{table}: {figures}");
        for (surface, scan) in scans {
            let figure = |name: &str| scan[name].as_f64().unwrap();
            // Footers and metadata beside the data.
            assert!(figure("requests") > ceiling["requests"].as_f64().unwrap(), "{table}, {surface}: {figures}");
            assert!(figure("percent_of_ceiling") > 0.0 && figure("percent_of_ceiling") < 110.0, "{table}, {surface}: {scan}");
            assert!(
                figure("first_batch_ms") >= 200.0 && figure("first_batch_ms") < 1e3 * figure("seconds") + 1.0,
                "{table}, {surface}: {scan}"
            );
            assert!(figure("peak_mib") > 5.0, "{table}, {surface}: {scan}");
            cpu_seconds += figure("cpu_seconds_per_gb");
        }
    }
    let shown = bench(store, "measured", folder.path(), "0ms")
        .args(["--scale", "0.002", "--tables", "ml.embeddings", "--through", "flight", "-o", "table"])
        .output()
        .unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let shown = String::from_utf8(shown.stdout).unwrap();
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("0 ms to the first byte, ") && lines[0].contains("/s on a connection, medians of 1 rounds"), "{shown}");
    let titles = ["table", "read by", "seconds", "GB/s", "% of ceiling", "requests", "CPU s/GB", "peak MiB", "first batch ms"];
    let starts = titles.map(|title| lines[2].find(title).unwrap_or_else(|| panic!("no {title}: {shown}")));
    let rows: Vec<Vec<&str>> = lines[3..].iter().map(|line| line.split_whitespace().collect()).collect();
    let rows: Vec<&Vec<&str>> = rows.iter().filter(|row| row.first() == Some(&"ml.embeddings")).collect();
    assert!(starts.is_sorted() && rows.len() == 2, "{shown}");
    assert_eq!((&rows[0][1..2], rows[0][4], rows[0].len()), (&["ceiling"][..], "100", 6), "{shown}");
    assert_eq!((rows[1][1], rows[1].len()), ("flight", 9), "{shown}");
    assert!(rows[1][2..].iter().all(|figure| figure.parse::<f64>().is_ok_and(|figure| figure >= 0.0)), "{shown}");
    let other = bench(store, "measured", folder.path(), "5ms").args(["--scale", "0.003"]).output().unwrap();
    let said = String::from_utf8_lossy(&other.stderr);
    assert!(other.status.code() == Some(2) && said.contains("scale 0.002"), "tables of another scale were measured: {said}");
    // A single run of a small table may take less than the kernel counts.
    assert!(cpu_seconds > 0.0, "{report}");
}

#[test]
fn what_keeps_it_from_measuring_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (status, said) = fail(folder.path(), &["bench", "--endpoint", "https://127.0.0.1:1", "--bucket", "b"]);
    assert!(status == 2 && said.contains("--endpoint https://127.0.0.1:1") && said.contains("without TLS"), "{said}");
    let Some(store) = Minio::shared() else { return };
    let output =
        bench(store, "no-such-bucket", folder.path(), "5ms").args(["--scale", "0.002", "--tables", "tpch.lineitem"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(4) && said.contains("--bucket") && !said.contains(&store.properties()["s3.secret-access-key"]),
        "{said}"
    );
    store.s3().create_bucket("refused");
    for (secret, status, named) in [(Some("wrong"), 5, "does not take the credentials"), (None, 2, "AWS_SECRET_ACCESS_KEY is not set")] {
        let mut command = bench(store, "refused", folder.path(), "5ms");
        command.args(["--scale", "0.002", "--tables", "tpch.lineitem"]).env_remove("AWS_SECRET_ACCESS_KEY");
        let output = command.envs(secret.map(|secret| ("AWS_SECRET_ACCESS_KEY", secret))).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(status) && said.contains(named), "{status}: {said}");
    }
}

/// docs/performance.md shows the figures of the committed run, and no others.
#[test]
fn figures_of_the_store_are_those_of_the_committed_run() {
    let text = std::fs::read_to_string(root().join("docs/performance.md")).unwrap();
    let result: serde_json::Value = serde_json::from_slice(&std::fs::read(root().join("benches/results/s3.json")).unwrap()).unwrap();
    let mut rows = 0;
    for (table, figures) in result["tables"].as_object().unwrap() {
        let ceiling = &figures["ceiling"];
        let figure = |name: &str| ceiling[name].as_f64().unwrap();
        let row = format!(
            "| {table} | ceiling | {:.2} | {:.3} | 100 | {} | | | |",
            figure("seconds"),
            figure("gb_per_second"),
            ceiling["requests"]
        );
        assert!(text.lines().any(|line| line == row), "docs/performance.md should say\n{row}");
        rows += 1;
        for (surface, scan) in figures["scans"].as_object().unwrap() {
            let figure = |name: &str| scan[name].as_f64().unwrap();
            let row = format!(
                "| {table} | {surface} | {:.2} | {:.3} | {:.0} | {} | {:.2} | {} | {:.0} |",
                figure("seconds"),
                figure("gb_per_second"),
                figure("percent_of_ceiling"),
                scan["requests"],
                figure("cpu_seconds_per_gb"),
                scan["peak_mib"],
                figure("first_batch_ms")
            );
            assert!(text.lines().any(|line| line == row), "docs/performance.md should say\n{row}");
            rows += 1;
        }
    }
    assert_eq!(rows, 12);
}
