//! The containers, without a container engine: what the files promise, and each command that they would run.
//!
//! How: the commands, variables, health checks and configuration are taken from `docker-compose.yml` and `deploy/Dockerfile` as they stand there.
//! Only what differs outside a container is put in their place: names of hosts, ports, folders.

use crate::support::{root, skip, succeed};
use fastdata_testkit::services::component;
use fastdata_testkit::services::postgres::{Database, Postgres};
use fastdata_testkit::services::process::{Life, Process, Program, free_port};
use serde_yaml_ng::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn text(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn yaml(name: &str) -> Value {
    let mut value: Value = serde_yaml_ng::from_str(&text(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    value.apply_merge().unwrap_or_else(|e| panic!("{name}: {e}"));
    value
}

/// The services of the compose file by their names.
fn services() -> BTreeMap<String, Value> {
    let file = yaml("docker-compose.yml");
    file["services"].as_mapping().unwrap().iter().map(|(name, service)| (name.as_str().unwrap().to_owned(), service.clone())).collect()
}

fn list(value: &Value) -> Vec<String> {
    value
        .as_sequence()
        .into_iter()
        .flatten()
        .map(|item| item.as_str().unwrap_or_else(|| panic!("{item:?} is no text")).to_owned())
        .collect()
}

fn pairs(value: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{value:?} has to be quoted")).to_owned();
    value.as_mapping().into_iter().flatten().map(|(name, value)| (text(name), text(value))).collect()
}

/// One `FROM` of the Dockerfile with the instructions below it, continued lines joined.
#[derive(Debug)]
struct BuildStage {
    base: String,
    name: String,
    instructions: Vec<(String, String)>,
}

impl BuildStage {
    fn last(&self, instruction: &str) -> Option<&str> {
        self.instructions.iter().rev().find(|(name, _)| name == instruction).map(|(_, rest)| rest.as_str())
    }

    fn words(&self, instruction: &str) -> Vec<String> {
        self.last(instruction).map(|json| serde_json::from_str(json).unwrap_or_else(|e| panic!("{json}: {e}"))).unwrap_or_default()
    }
}

fn build_stages() -> Vec<BuildStage> {
    let joined = text("deploy/Dockerfile").replace("\\\n", " ");
    let mut stages: Vec<BuildStage> = Vec::new();
    for line in joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (instruction, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        if instruction == "FROM" {
            let (base, name) = rest.split_once(" AS ").unwrap_or_else(|| panic!("a stage without a name: {line}"));
            stages.push(BuildStage { base: base.to_owned(), name: name.to_owned(), instructions: vec![] });
        } else {
            let stage = stages.last_mut().unwrap_or_else(|| panic!("{line} before the first FROM"));
            stage.instructions.push((instruction.to_owned(), rest.trim().to_owned()));
        }
    }
    stages
}

/// A stage and those that it is made from, itself first.
fn ancestry<'a>(stages: &'a [BuildStage], name: &str) -> Vec<&'a BuildStage> {
    let mut found = Vec::new();
    let mut next = stages.iter().find(|stage| stage.name == name);
    while let Some(stage) = next {
        found.push(stage);
        next = stages.iter().find(|other| other.name == stage.base);
    }
    found
}

#[test]
fn ports_are_published_on_loopback_and_images_are_pinned() {
    let mut published = BTreeSet::new();
    for (name, service) in services() {
        for port in list(&service["ports"]) {
            let host = port.strip_prefix("127.0.0.1:").unwrap_or_else(|| panic!("{name} publishes {port} on every address"));
            assert!(published.insert(host.split(':').next().unwrap().to_owned()), "{name}: two services publish {port}");
        }
        assert_eq!(service["network_mode"], Value::Null, "{name}");
        match service["image"].as_str() {
            Some(image) => {
                assert!(image.split_once(':').is_some_and(|(_, tag)| tag.contains(|c: char| c.is_ascii_digit())), "{name}: {image}")
            }
            None => assert_eq!(service["build"]["dockerfile"].as_str(), Some("deploy/Dockerfile"), "{name}"),
        }
    }
    assert!(published.len() >= 6, "{published:?}");
}

#[test]
fn every_service_but_those_that_end_has_a_health_check_and_dependencies_exist() {
    let services = services();
    for (name, service) in &services {
        let is_one_shot = service["restart"].as_str() == Some("no");
        let check = list(&service["healthcheck"]["test"]);
        assert!(is_one_shot || (check.first().is_some_and(|kind| kind == "CMD") && check.len() > 1), "{name} has no health check");
        for (other, how) in service["depends_on"].as_mapping().into_iter().flatten() {
            let other = other.as_str().unwrap();
            let depended = services.get(other).unwrap_or_else(|| panic!("{name} depends on {other}, which is not there"));
            let wanted = if depended["restart"].as_str() == Some("no") { "service_completed_successfully" } else { "service_healthy" };
            assert_eq!(how["condition"].as_str(), Some(wanted), "{name} on {other}");
            // Whoever starts without a profile gets all that it needs.
            let profiles = list(&depended["profiles"]);
            assert!(profiles.is_empty() || profiles == list(&service["profiles"]), "{name} depends on {other} of another profile");
        }
    }
    let named = |profile: &str| -> Vec<&str> {
        services.iter().filter(|(_, s)| list(&s["profiles"]).iter().any(|p| p == profile)).map(|(name, _)| name.as_str()).collect()
    };
    assert_eq!(named("monitoring"), ["grafana", "prometheus"]);
    let plain: Vec<&str> = services.iter().filter(|(_, s)| s["profiles"].is_null()).map(|(name, _)| name.as_str()).collect();
    assert_eq!(plain, ["fastdata", "minio", "postgres", "rest", "tables"]);
    let one_shot: Vec<&str> = services.iter().filter(|(_, s)| s["restart"].as_str() == Some("no")).map(|(name, _)| name.as_str()).collect();
    assert_eq!(one_shot, ["tables"]);
}

#[test]
fn mounted_files_and_volumes_exist() {
    let file = yaml("docker-compose.yml");
    for (name, service) in services() {
        for mount in list(&service["volumes"]) {
            let source = mount.split(':').next().unwrap();
            match source.strip_prefix("./") {
                Some(path) => assert!(root().join(path).exists() && mount.ends_with(":ro"), "{name} mounts {mount}"),
                None => assert!(file["volumes"].as_mapping().unwrap().contains_key(source), "{name}: there is no volume {source}"),
            }
        }
    }
}

#[test]
fn our_images_are_stages_that_run_as_a_plain_user_and_hold_no_builder() {
    let stages = build_stages();
    let names: BTreeSet<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(names.len(), stages.len());
    assert_eq!(stages.last().unwrap().name, "fastdata", "a build without a target makes fastdata");
    let mut targets: Vec<String> = services().values().filter_map(|s| s["build"]["target"].as_str().map(str::to_owned)).collect();
    targets.sort();
    assert_eq!(targets, ["fastdata", "minio", "rest", "tables"]);
    for target in &targets {
        let ancestry = ancestry(&stages, target);
        let user = ancestry.iter().find_map(|stage| stage.last("USER")).unwrap_or_else(|| panic!("{target} runs as root"));
        assert!(user.parse::<u32>().is_ok_and(|id| id > 0), "{target} runs as {user}");
        let base = &ancestry.last().unwrap().base;
        assert!(base.contains("-slim") || base.contains("-jre"), "{target} is made from {base}");
        let service = &services()[target];
        assert_eq!(service["read_only"].as_bool(), Some(true), "{target}");
        // What Docker mounts is not executable unless that is said, and the driver of SQLite loads a library from there.
        let temporary = if target == "rest" { "/tmp:exec" } else { "/tmp" };
        assert_eq!(list(&service["tmpfs"]), [temporary], "{target}");
        assert_eq!(list(&service["cap_drop"]), ["ALL"], "{target}");
        assert_eq!(list(&service["security_opt"]), ["no-new-privileges:true"], "{target}");
    }
    let toolchain = format!("rust:{}-", env!("CARGO_PKG_RUST_VERSION"));
    assert!(stages.iter().any(|stage| stage.base.starts_with(&toolchain)), "Rust is built with {toolchain}");
}

#[test]
fn what_the_stages_copy_is_there() {
    let stages = build_stages();
    for stage in &stages {
        for (_, rest) in stage.instructions.iter().filter(|(name, _)| name == "COPY") {
            let mut words: Vec<&str> = rest.split_whitespace().collect();
            words.pop();
            match words[0].strip_prefix("--from=") {
                Some(from) => {
                    let source = stages.iter().find(|s| s.name == from).unwrap_or_else(|| panic!("{}: no stage {from}", stage.name));
                    // Made by a command of the stage: installed to that place, or built into the target folder.
                    let made = Path::new(words[1]);
                    let commands: Vec<&str> = source.instructions.iter().filter(|(n, _)| n == "RUN").map(|(_, r)| r.as_str()).collect();
                    let file = made.file_name().unwrap().to_str().unwrap();
                    assert!(commands.iter().any(|c| c.contains(words[1]) || c.ends_with(file)), "{from} does not make {}", words[1]);
                }
                None => words.iter().for_each(|word| assert!(root().join(word).exists(), "{}: COPY {word}", stage.name)),
            }
        }
    }
}

/// Names in the text that begin with `fastdata_` and are no more than letters and underscores.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
    words.filter(|word| word.starts_with("fastdata_")).map(str::to_owned).collect()
}

#[test]
fn the_dashboard_shows_figures_that_the_server_has() {
    let dashboard: serde_json::Value = serde_json::from_str(&text("deploy/grafana/dashboards/fastdata.json")).unwrap();
    let known = metrics(&text("docs/operations.md"));
    let mut shown = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert_eq!(panel["datasource"]["uid"], "prometheus");
        for target in panel["targets"].as_array().unwrap() {
            shown.extend(metrics(target["expr"].as_str().unwrap()));
        }
    }
    assert!(shown.len() > 10, "{shown:?}");
    let unknown: Vec<&String> = shown.iter().filter(|name| !known.contains(name.trim_end_matches("_bucket"))).collect();
    assert!(unknown.is_empty(), "docs/operations.md does not name {unknown:?}");
    let sources = yaml("deploy/grafana/provisioning/datasources/prometheus.yml");
    assert_eq!(sources["datasources"][0]["uid"].as_str(), Some("prometheus"));
    // The dashboards are where the provider and the compose file say.
    let folder = yaml("deploy/grafana/provisioning/dashboards/fastdata.yml")["providers"][0]["options"]["path"].clone();
    let mounts = list(&services()["grafana"]["volumes"]);
    assert!(mounts.contains(&format!("./deploy/grafana/dashboards:{}:ro", folder.as_str().unwrap())), "{mounts:?}");
}

#[test]
fn prometheus_asks_the_admin_port() {
    let scrape = &yaml("deploy/prometheus.yml")["scrape_configs"][0];
    let target = scrape["static_configs"][0]["targets"][0].as_str().unwrap().to_owned();
    let settings: toml::Table = text("deploy/fastdata.toml").parse().unwrap();
    let admin = settings["server"]["admin"].as_str().unwrap();
    assert_eq!(target, format!("fastdata:{}", admin.rsplit_once(':').unwrap().1));
}

/// The world outside a container: what stands for the names and places inside.
struct Outside {
    folder: tempfile::TempDir,
    replaced: Vec<(String, String)>,
}

impl Outside {
    fn new(minio: u16, rest: u16, postgres: u16, serving: u16, admin: u16) -> Outside {
        let folder = tempfile::tempdir().unwrap();
        let data = |name: &str| folder.path().join(name).display().to_string();
        let config = folder.path().join("fastdata.toml").display().to_string();
        let replaced = [
            ("http://minio:9000", format!("http://127.0.0.1:{minio}")),
            ("http://rest:8181", format!("http://127.0.0.1:{rest}")),
            ("postgres:5432", format!("127.0.0.1:{postgres}")),
            ("/etc/fastdata/fastdata.toml", config),
            ("jdbc:sqlite:/data", format!("jdbc:sqlite:{}", folder.path().display())),
            ("/data", data("minio")),
            ("0.0.0.0:8815", format!("127.0.0.1:{serving}")),
            ("0.0.0.0:8816", format!("127.0.0.1:{admin}")),
            ("0.0.0.0", "127.0.0.1".to_owned()),
            (":9000", format!("127.0.0.1:{minio}")),
            ("9000", minio.to_string()),
            ("8181", rest.to_string()),
            ("8816", admin.to_string()),
        ];
        let replaced = replaced.into_iter().map(|(from, to)| (from.to_owned(), to)).collect();
        Outside { folder, replaced }
    }

    /// The first that is found is replaced, and nothing else: what takes its place is never looked at again.
    fn word(&self, word: &str) -> String {
        let found = self.replaced.iter().find(|(from, _)| word.contains(from.as_str()));
        found.map_or_else(|| word.to_owned(), |(from, to)| word.replace(from.as_str(), to))
    }

    fn lines(&self, text: &str) -> String {
        text.lines().map(|line| format!("{}\n", self.word(line))).collect()
    }

    /// What the container of a service would run, with the program of that name on this machine.
    fn command(&self, service: &str, program: &Path) -> Command {
        let description = &services()[service];
        let stages = build_stages();
        let target = description["build"]["target"].as_str().unwrap();
        let image = ancestry(&stages, target)[0];
        let mut words = image.words("ENTRYPOINT");
        assert_eq!(Path::new(&words[0]).file_name(), program.file_name(), "{service} runs {}", words[0]);
        let given = list(&description["command"]);
        words.extend(if given.is_empty() { image.words("CMD") } else { given });
        let mut command = Command::new(program);
        // The classpath of the image has the folders of the component on this machine in its place.
        let classpath = component("FASTDATA_REST_CLASSPATH").unwrap_or_default();
        command.args(words[1..].iter().map(|word| if word.starts_with("/opt/rest") { classpath.clone() } else { self.word(word) }));
        command.envs(pairs(&description["environment"]).into_iter().map(|(name, value)| (name, self.word(&value))));
        command
    }

    fn start(&self, service: &'static str, program: &Path) -> Process {
        let command = self.command(service, program);
        let log = self.folder.path().join(format!("{service}.log"));
        let process = Process::start(Program { name: service, command, log, stop: "TERM", user: None }, Life::Bound);
        process.up(|| self.is_healthy(service)).unwrap_or_else(|failed| failed.panic())
    }

    /// Runs the health check of the service.
    fn is_healthy(&self, service: &str) -> bool {
        let check = list(&services()[service]["healthcheck"]["test"]);
        assert_eq!(check[..2], ["CMD", "health"], "{service}");
        let mut command = Command::new(root().join("deploy/health.sh"));
        command.args(check[2..].iter().map(|word| self.word(word)));
        command.output().unwrap().status.success()
    }
}

#[test]
fn what_the_containers_run_works_here() {
    // The image of PostgreSQL is not ours: the same server runs with what the variables say.
    let postgres = pairs(&services()["postgres"]["environment"]);
    let value = |name: &str| postgres.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap();
    let database = Database { user: value("POSTGRES_USER"), password: value("POSTGRES_PASSWORD"), name: value("POSTGRES_DB") };
    let (Some(minio), Some(_), Some(postgres)) =
        (component("FASTDATA_MINIO"), component("FASTDATA_REST_CLASSPATH"), Postgres::start_as(&database))
    else {
        return skip("one of MinIO, the REST catalog and PostgreSQL");
    };
    let serving = free_port();
    let outside = Outside::new(free_port(), free_port(), postgres.address().port(), serving, free_port());
    let folder = outside.folder.path();
    assert!(!outside.is_healthy("minio"), "the health check succeeds where nobody listens");

    let _minio = outside.start("minio", Path::new(&minio));
    let check = list(&services()["postgres"]["healthcheck"]["test"]);
    let mut ready = Command::new(&check[1]);
    ready.args(&check[2..]);
    assert!(ready.env("PGPORT", postgres.address().port().to_string()).status().unwrap().success());
    let java = PathBuf::from("java");
    let _rest = outside.start("rest", &java);

    // Built with the tests of the whole workspace.
    let tables = Path::new(env!("CARGO_BIN_EXE_fastdata")).with_file_name("examples").join("services");
    let made = outside.command("tables", &tables).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    std::fs::write(folder.join("fastdata.toml"), outside.lines(&text("deploy/fastdata.toml"))).unwrap();
    let _fastdata = outside.start("fastdata", Path::new(env!("CARGO_BIN_EXE_fastdata")));
    let server = format!("grpc://127.0.0.1:{}", serving);
    let elsewhere = tempfile::tempdir().unwrap();
    let listed = succeed(elsewhere.path(), &["tables", "--server", &server]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), ["postgres.demo.events", "rest.demo.events"]);
    for table in listed.lines() {
        let rows = succeed(elsewhere.path(), &["scan", table, "--server", &server, "-o", "jsonl"]);
        assert!(rows.lines().count() > 100, "{table}: {} rows", rows.lines().count());
    }
}
