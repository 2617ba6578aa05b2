//! Documents name only commands, flags, recipes, variables and paths that exist.

use crate::support::root;
use clap::CommandFactory;
use std::collections::BTreeSet;
use std::path::PathBuf;

fn documents() -> Vec<(PathBuf, String)> {
    let mut paths: Vec<PathBuf> = vec![];
    let mut folders = vec![root().to_owned(), root().join("docs")];
    folders.extend(["docs/adr", "docs/catalogs", "docs/stores"].map(|folder| root().join(folder)));
    for folder in folders {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "md") {
                paths.push(path);
            }
        }
    }
    assert!(paths.len() >= 4, "README.md, ARCHITECTURE.md and docs are expected");
    paths.into_iter().map(|path| (path.clone(), std::fs::read_to_string(path).unwrap())).collect()
}

/// Code spans and code blocks: what a reader would type or open.
fn code(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            found.push(line.to_owned());
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || "\"'(),;=|[]{}".contains(c)).filter(|w| !w.is_empty())
}

#[test]
fn commands_and_flags_exist() {
    let command = fastdata::cli::args::Cli::command();
    let subcommands: BTreeSet<&str> = command.get_subcommands().map(|c| c.get_name()).collect();
    let mut flags: BTreeSet<String> = ["--help", "--version"].map(str::to_owned).into();
    for c in std::iter::once(&command).chain(command.get_subcommands()) {
        flags.extend(c.get_arguments().filter_map(|a| a.get_long()).map(|long| format!("--{long}")));
    }
    for (path, text) in documents() {
        for span in code(&text) {
            // Lines of other programs have flags of their own.
            let others = ["cargo ", "pip ", "git ", "docker ", "apt", "python", "curl ", "openssl ", "scripts/"]
                .iter()
                .any(|p| span.trim_start().trim_start_matches("$ ").starts_with(p));
            let all: Vec<&str> = words(&span).collect();
            if !others {
                for flag in
                    all.iter().filter(|w| w.strip_prefix("--").is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic())))
                {
                    assert!(flags.contains(*flag), "{}: flag {flag} does not exist: {span}", path.display());
                }
            }
            // In Python's imports `fastdata` is the module, not the command.
            let imports = ["import ", "from "].iter().any(|word| span.trim_start().starts_with(word));
            for pair in all.windows(2).filter(|_| !imports) {
                if pair[0] == "fastdata" && pair[1].chars().all(|c| c.is_ascii_lowercase()) {
                    assert!(
                        subcommands.contains(pair[1]) || pair[1] == "help",
                        "{}: `fastdata {}` does not exist",
                        path.display(),
                        pair[1]
                    );
                }
            }
        }
    }
}

#[test]
fn recipes_exist() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    for (path, text) in documents() {
        for span in code(&text) {
            let all: Vec<&str> = words(&span).collect();
            for pair in all.windows(2).filter(|pair| pair[0] == "make") {
                assert!(makefile.contains(&format!("\n{}:", pair[1])), "{}: `make {}` does not exist", path.display(), pair[1]);
            }
        }
    }
}

#[test]
fn paths_exist() {
    let tops = ["src/", "crates/", "docs/", "proto/", "tests/", "benches/", "scripts/", "fuzz/", "examples/", "python/", ".ci/"];
    for (path, text) in documents() {
        let mut named: Vec<String> = code(&text).iter().flat_map(|span| words(span).map(str::to_owned).collect::<Vec<_>>()).collect();
        // Links too.
        named.extend(
            text.split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next())
                .filter(|l| !l.contains("://") && !l.starts_with('#'))
                .map(str::to_owned),
        );
        for name in named {
            let name = name.trim_end_matches(['.', ':', ',']).split('#').next().unwrap_or_default();
            let relative = name.trim_start_matches("./").trim_start_matches("../");
            let looks_like_ours =
                tops.iter().any(|top| relative.starts_with(top)) || (relative.ends_with(".md") && !relative.contains('*'));
            if looks_like_ours && !name.contains(['*', '<', '$', '…']) {
                let here = root().join(relative).exists() || path.parent().unwrap().join(name).exists();
                assert!(here, "{}: {name} does not exist", path.display());
            }
        }
    }
}

#[test]
fn variables_are_read_somewhere() {
    let mut code_text = String::new();
    let mut folders = vec![root().join("src"), root().join("crates"), root().join("scripts"), root().join("tests"), root().join(".ci")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                code_text.push_str(&text);
            }
        }
    }
    code_text.push_str(&std::fs::read_to_string(root().join("Makefile")).unwrap());
    for (path, text) in documents() {
        for word in text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')).filter(|w| w.starts_with("FASTDATA_"))
        {
            let known = code_text.contains(word) || (word.starts_with("FASTDATA_CATALOG__") && code_text.contains("FASTDATA_CATALOG__"));
            assert!(known || word == "FASTDATA_", "{}: {word} is read nowhere", path.display());
        }
    }
}

/// The settings of docs/configuration.md are those that are read, each with a line of its own.
#[test]
fn the_settings_described_are_those_that_are_read() {
    use fastdata::config::{Overrides, read};
    let text = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fastdata.toml");
    let problems = |toml: &str| {
        std::fs::write(&file, toml).unwrap();
        read(&Overrides { config: Some(file.clone()), ..Overrides::default() }, &[]).unwrap().problems
    };
    let blocks: Vec<&str> = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let mut described: BTreeSet<String> = BTreeSet::new();
    for block in &blocks {
        assert_eq!(problems(block), Vec::<String>::new(), "{block}");
        let mut section = String::new();
        for line in block.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section = format!("{}.", name.trim_matches(['[', ']']));
            } else if let Some((key, _)) = line.split_once(" = ") {
                described.insert(format!("{section}{key}"));
            }
        }
    }
    for section in ["", "server", "server.tls", "server.tickets", "server.auth", "server.auth.jwt", "server.limits", "policy"] {
        let header = match section {
            "" => String::new(),
            "policy" => "[[policy]]\n".to_owned(),
            section => format!("[{section}]\n"),
        };
        let problems = problems(&format!("{header}zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz = 1"));
        let known = problems.iter().find_map(|problem| problem.split_once("known keys: ")).unwrap_or_else(|| panic!("{problems:?}")).1;
        for key in known.split(", ") {
            let key = if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") };
            let is_section = described.iter().any(|known| known.starts_with(&format!("{key}.")));
            assert!(described.contains(&key) || is_section, "docs/configuration.md does not describe {key}");
        }
    }
}

/// The rows of docs/configuration.md on deadlines and retries, by their beginning, and what each default is in the code.
const DEADLINES: [(&str, &str, &str); 23] = [
    ("`s3.connect-timeout`", "crates/store/src/settings.rs", "seconds(\"s3.connect-timeout\", {}.0)"),
    ("`s3.request-timeout`", "crates/store/src/settings.rs", "seconds(\"s3.request-timeout\", {}.0)"),
    ("`fastdata.s3.retry-timeout`", "crates/store/src/settings.rs", "seconds(\"fastdata.s3.retry-timeout\", {}.0)"),
    ("`rest.client.connection-timeout-ms`", "crates/catalog/src/rest/connection.rs", "const CONNECT_TIMEOUT_MS: u64 = {};"),
    ("`rest.client.socket-timeout-ms`", "crates/catalog/src/rest/connection.rs", "const SILENCE_TIMEOUT_MS: u64 = {};"),
    ("`fastdata.rest.retry-timeout`", "crates/catalog/src/rest/connection.rs", "const RETRY_TIMEOUT_S: u64 = {};"),
    ("`connect_timeout` in the `uri`", "crates/catalog/src/sql/uri.rs", "const CONNECT_TIMEOUT: Duration = Duration::from_secs({});"),
    ("`fastdata.sql.query-timeout`", "crates/catalog/src/sql/mod.rs", "const QUERY_TIMEOUT_S: u64 = {};"),
    ("none | the lock of another program", "crates/catalog/src/sql/sqlite.rs", "const BUSY_TIMEOUT: Duration = Duration::from_secs({});"),
    ("none | a connection to a fastdata", "crates/client/src/connect.rs", "const CONNECT_TIMEOUT: Duration = Duration::from_secs({});"),
    ("none | the silence of a fastdata", "crates/client/src/connect.rs", "const SILENT: Duration = Duration::from_secs({});"),
    ("none | the sign of life", "crates/client/src/connect.rs", "const SIGN_OF_LIFE: Duration = Duration::from_secs({});"),
    ("none | faults of a fastdata server", "crates/client/src/lib.rs", "const RETRY_FOR: Duration = Duration::from_secs({});"),
    ("none | the same where a question", "crates/client/src/lib.rs", "const RETRY_QUESTION_FOR: Duration = Duration::from_secs({});"),
    ("`timeout`", "src/config/mod.rs", "pub timeout: Option<Duration>,"),
    ("`server.limits.handshake`", "src/config/server.rs", "handshake: Duration::from_secs({}),"),
    ("none | from there to the first request", "src/serve/listen.rs", "first_request: Duration::from_secs({}) }"),
    ("none | a request until", "src/serve/requests.rs", "const REQUEST_TIME: Duration = Duration::from_secs({});"),
    ("none | the silence of a client", "src/serve/http2.rs", "const PING_AFTER: Duration = Duration::from_secs({});"),
    ("none | the client's sign of life", "src/serve/http2.rs", "const PING_TIMEOUT: Duration = Duration::from_secs({});"),
    ("none | a stream with nothing to send", "src/serve/stream.rs", "const KEEP_ALIVE: Duration = Duration::from_secs({});"),
    ("`server.tickets.lifetime`", "src/config/server.rs", "lifetime: Duration::from_secs({}),"),
    ("`server.grace`", "src/config/server.rs", "grace: Duration::from_secs({}),"),
];

#[test]
fn deadlines_and_retries_are_those_of_the_code() {
    let text = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with("Deadlines and retries")).unwrap();
    let rows: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("| ")).filter(|row| !row.starts_with("key |")).collect();
    for row in &rows {
        let held: Vec<_> = DEADLINES.iter().filter(|(begins, ..)| row.starts_with(begins)).collect();
        let [(_, file, code)] = held[..] else { panic!("{} lines of DEADLINES hold: {row}", held.len()) };
        let default = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let expected = code.replace("{}", default);
        // Numbers of five digits have a mark for thousands in the code.
        let source = std::fs::read_to_string(root().join(file)).unwrap().replace("_000", "000");
        assert!(source.contains(&expected), "{file} has no `{expected}`, as docs/configuration.md says: {row}");
    }
    assert_eq!(rows.len(), DEADLINES.len(), "docs/configuration.md does not say each of them");
    assert_eq!(fastdata::config::Settings::default().timeout, None);
}

/// A reader may copy any configuration from the pages of catalogs and stores.
#[test]
fn configurations_of_catalogs_and_stores_are_read_without_a_problem() {
    use fastdata::config::{Overrides, read};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fastdata.toml");
    let mut blocks = 0;
    for (path, text) in documents() {
        let is_one = ["docs/catalogs", "docs/stores"].iter().any(|folder| path.starts_with(root().join(folder)));
        for block in text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).filter(|_| is_one) {
            std::fs::write(&file, block).unwrap();
            let settings = read(&Overrides { config: Some(file.clone()), ..Overrides::default() }, &[]).unwrap();
            assert_eq!(settings.problems, Vec::<String>::new(), "{}: {block}", path.display());
            // Glue and Hive are not in every build.
            if !path.ends_with("foreign.md") {
                fastdata::assemble::engine(&settings, None, fastdata::assemble::Paths::Refused)
                    .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            }
            blocks += 1;
        }
    }
    assert!(blocks >= 7);
}

/// docs/errors.md is the table kind -> exit status -> gRPC code -> retryable.
#[test]
fn the_table_of_errors_is_the_codes() {
    use fastdata_types::ErrorKind;
    let text = std::fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(rows.len(), ErrorKind::ALL.len());
    for kind in ErrorKind::ALL {
        let code = fastdata::serve::code_of(kind);
        let retry = if kind.retryable() { "yes" } else { "no" };
        let expected = format!("| `{kind}` | {} | {code:?} | {retry} |", kind.exit_code());
        assert!(rows.iter().any(|row| row.starts_with(&expected)), "docs/errors.md lacks a row beginning {expected}");
    }
    let exits = std::fs::read_to_string(root().join("docs/output.md")).unwrap();
    for kind in ErrorKind::ALL {
        assert!(exits.contains(&format!("| {} |", kind.exit_code())), "docs/output.md lacks exit status {}", kind.exit_code());
    }
}

/// docs/types.md is the mapping of types.
#[test]
fn the_table_of_types_is_the_codes() {
    use arrow::datatypes::{DataType, TimeUnit};
    use fastdata_types::PrimitiveType as P;
    use fastdata_types::arrow_type::primitive_arrow_type;
    use fastdata_types::request::StringEncoding;
    let readable = [
        P::Boolean,
        P::Int,
        P::Long,
        P::Float,
        P::Double,
        P::Decimal { precision: 9, scale: 2 },
        P::Date,
        P::Time,
        P::Timestamp,
        P::Timestamptz,
        P::TimestampNs,
        P::TimestamptzNs,
        P::String,
        P::Uuid,
        P::Fixed(7),
        P::Binary,
        P::Unknown,
    ];
    let spell = |ty: &DataType| match ty {
        DataType::Time64(TimeUnit::Microsecond) => "Time64(µs)".to_owned(),
        DataType::Timestamp(unit, zone) => {
            let unit = if *unit == TimeUnit::Microsecond { "µs" } else { "ns" };
            zone.as_ref().map_or_else(|| format!("Timestamp({unit})"), |zone| format!("Timestamp({unit}, \"{zone}\")"))
        }
        other => format!("{other:?}"),
    };
    let text = std::fs::read_to_string(root().join("docs/types.md")).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("| `")).count(), readable.len());
    for primitive in readable {
        let arrow = primitive_arrow_type(&primitive, StringEncoding::Utf8).unwrap();
        let row = format!("| `{primitive}` | {} |", spell(&arrow));
        assert!(text.contains(&row), "docs/types.md lacks {row}");
    }
    for refused in [P::Variant, P::Geometry("geometry".into()), P::Geography("geography".into())] {
        assert!(primitive_arrow_type(&refused, StringEncoding::Utf8).is_err());
        assert!(text.contains(&format!("`{refused}`")));
    }
}

/// How many entries of a ledger have each of these outcomes, in words.
fn counted(entries: &[&serde_json::Value], outcomes: &[&str]) -> String {
    let outcome = |entry: &serde_json::Value| match entry["outcome"].as_str() {
        Some(outcome) => outcome.to_owned(),
        None => if entry["rows"].is_u64() { "read" } else { "refused" }.to_owned(),
    };
    let counts: Vec<usize> = outcomes.iter().map(|&name| entries.iter().filter(|entry| outcome(entry) == name).count()).collect();
    assert_eq!(counts.iter().sum::<usize>(), entries.len(), "outcomes of {entries:?}");
    counts.iter().zip(outcomes).map(|(count, name)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_ledgers_are_counted_right() {
    let text = std::fs::read_to_string(root().join("docs/conformance.md")).unwrap();
    let read = |name: &str| std::fs::read(root().join("tests/ledger").join(name)).unwrap();
    let lists = [
        ("tables.json", ["passed", "refused", "planned"].as_slice()),
        ("queries.json", &["passed", "refused", "not expressible"]),
        ("pyiceberg.json", &["equal", "different", "pyiceberg fails", "fastdata refuses", "no data"]),
        ("hostile.json", &["read", "refused"]),
    ];
    for (name, outcomes) in lists {
        let ledger: serde_json::Value = serde_json::from_slice(&read(name)).unwrap();
        let entries: Vec<&serde_json::Value> =
            ledger.as_array().map_or_else(|| ledger.as_object().unwrap().values().collect(), |list| list.iter().collect());
        let row = format!("| {} | {} |", entries.len(), counted(&entries, outcomes));
        if name == "pyiceberg.json" {
            let cells: u64 = entries.iter().filter_map(|entry| entry["cells"].as_u64()).sum();
            let snapshots = |outcome: &str| entries.iter().filter_map(|entry| entry["snapshots"][outcome].as_u64()).sum::<u64>();
            let (equal, fails, refused) = (snapshots("equal"), snapshots("pyiceberg fails"), snapshots("fastdata refuses"));
            let all = equal + fails + refused;
            for said in [format!("{cells} cells"), format!("{equal} of {all} "), format!("fails on {fails},")] {
                assert!(text.contains(&said), "docs/conformance.md should say {said} of {name}");
            }
        }
        let line = text.lines().find(|line| line.starts_with(&format!("| `tests/ledger/{name}` |"))).unwrap_or_else(|| panic!("no {name}"));
        assert!(line.ends_with(&row), "docs/conformance.md should say {row} of {name}");
    }
}

/// Every figure of docs/performance.md comes from a committed result.
#[test]
fn measurements_are_those_of_the_committed_results() {
    let text = std::fs::read_to_string(root().join("docs/performance.md")).unwrap();
    let result = std::fs::read(root().join("benches/results/decode-floor.json")).unwrap();
    let result: serde_json::Value = serde_json::from_slice(&result).unwrap();
    let tables = result["tables"].as_object().unwrap();
    assert_eq!(tables.len(), 3);
    for (table, measured) in tables {
        for (contender, figures) in measured["contenders"].as_object().unwrap() {
            let figure = |name: &str| figures[name].as_f64().unwrap();
            let row = format!(
                "| {table} | {contender} | {:.2} | {:.2} | {} | {:.2} |",
                figure("seconds"),
                figure("cpu_seconds"),
                figures["peak_mib"],
                figure("ratio_to_floor")
            );
            assert!(text.lines().any(|line| line == row), "docs/performance.md should say\n{row}");
        }
    }
    for said in [&result["machine"], &result["versions"][0], &result["versions"][1]] {
        let said = said.as_str().unwrap();
        assert!(text.contains(said), "docs/performance.md should say {said}");
    }
}

#[test]
fn figures_of_peers_are_those_of_the_committed_results() {
    let text = std::fs::read_to_string(root().join("docs/performance.md")).unwrap();
    let result = std::fs::read(root().join("benches/results/python-peers.json")).unwrap();
    let result: serde_json::Value = serde_json::from_slice(&result).unwrap();
    let mut rows = 0;
    for (table, measured) in result["tables"].as_object().unwrap() {
        for kind in ["stream", "materialise"] {
            for (contender, figures) in measured.get(kind).and_then(|of| of.as_object()).into_iter().flatten() {
                let figure = |name: &str| figures[name].as_f64().unwrap();
                let (seconds, cpu) = (figure("seconds"), figure("cpu_seconds"));
                let row = format!("| {table} | {kind} | {contender} | {seconds:.2} | {cpu:.2} | {} |", figures["peak_mib"]);
                assert!(text.lines().any(|line| line == row), "docs/performance.md should say\n{row}");
                rows += 1;
            }
        }
    }
    assert_eq!(rows, 36);
    for said in result["versions"].as_array().unwrap() {
        assert!(text.contains(said.as_str().unwrap()), "docs/performance.md should say {said}");
    }
}

/// Rows of the first table of docs/operations.md whose head begins so, cell by cell.
fn operations(head: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let rows = text.lines().skip_while(|line| !line.starts_with(head)).skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<Vec<String>> =
        rows.map(|row| row.split('|').skip(1).map(|cell| cell.trim().trim_matches('`').to_owned()).collect()).collect();
    assert!(!rows.is_empty(), "docs/operations.md has no table with the head {head}");
    rows
}

/// docs/operations.md lists every metric with its type and labels.
#[test]
fn the_table_of_metrics_is_the_codes() {
    let text = fastdata::telemetry::Metrics::new().render();
    let mut found = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            "histogram" => "_count",
            _ => "",
        };
        let sample = text.lines().find(|line| {
            line.strip_prefix(name).and_then(|rest| rest.strip_prefix(suffix)).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let sample = sample.unwrap_or_else(|| panic!("{name} has no series from the start"));
        let labels = sample.split_once('{').map_or(String::new(), |(_, labels)| {
            labels.split(',').map(|label| label.split('=').next().unwrap()).collect::<Vec<_>>().join(", ")
        });
        let name = if kind == "histogram" { name.to_owned() } else { format!("{name}{suffix}") };
        found.insert(vec![name, kind.to_owned(), labels]);
    }
    let listed: BTreeSet<Vec<String>> = operations("| metric |").into_iter().map(|row| row[..3].to_vec()).collect();
    assert_eq!(listed, found);
}

/// docs/operations.md lists the fields of every line of the log.
#[test]
fn the_table_of_log_fields_is_the_codes() {
    use fastdata::telemetry::Event;
    use fastdata::telemetry::log::Scan;
    use fastdata_types::{Error, Stage};
    use std::time::Duration;
    let error = Error::corrupt(Stage::Plan, "m");
    let address = "127.0.0.1:1".parse().unwrap();
    let stats = fastdata_types::stats::ScanStats::default();
    let scan = Scan {
        principal: "p",
        peer: Some(address),
        table: "t",
        snapshot_id: Some(1),
        plan_digest: "d",
        lane: Some(1),
        outcome: "corrupt",
        message: Some("m"),
        rows: 1,
        bytes: 1,
        duration: Duration::ZERO,
        wire: Duration::ZERO,
        stats: &stats,
    };
    let events = [
        Event::Start { version: "v" },
        Event::Ready { listen: address, admin: Some(address), tls: true },
        Event::Scan(scan),
        Event::PlanFailed { principal: "p", peer: Some(address), table: Some("t"), error: &error },
        Event::Reload { what: "w", failed: Some(&error) },
        Event::Draining { streams: 1 },
        Event::Stopped { cut: 1 },
    ];
    let fields = |event: &Event| event.fields().into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    let found: Vec<(String, String)> = events.iter().map(|event| (event.name().to_owned(), fields(event))).collect();
    let listed: Vec<(String, String)> = operations("| event |").into_iter().map(|row| (row[0].clone(), row[2].clone())).collect();
    assert_eq!(listed, found);
}

/// The defaults in docs/operations.md are those of the code.
#[test]
fn the_table_of_limits_is_the_codes() {
    use fastdata::serve::{http2, listen, requests};
    use fastdata::telemetry::admin;
    let limits = listen::Limits::default();
    let expected = [
        limits.connections.to_string(),
        format!("{}, and half of all at most", listen::UNPROVEN),
        format!("{} s", limits.handshake.as_secs()),
        format!("{} s", limits.first_request.as_secs()),
        format!("{} KiB", http2::HEADER_LIST_BYTES >> 10),
        format!("{} s", requests::REQUEST_TIME.as_secs()),
        format!("after {} s, within {} s", http2::PING_AFTER.as_secs(), http2::PING_TIMEOUT.as_secs()),
        admin::CONNECTIONS.to_string(),
    ];
    let rows = operations("| limit |");
    assert_eq!(rows.iter().map(|row| row[1].clone()).collect::<Vec<_>>(), expected);
    assert!(rows.last().unwrap()[0].contains(&format!("at most {} s", admin::LIFE.as_secs())));
}
