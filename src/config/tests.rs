use super::*;

fn load_text(text: &str, environment: &[(&str, &str)]) -> Result<Settings> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fastdata.toml");
    std::fs::write(&path, text).unwrap();
    let environment: Vec<(String, String)> = environment.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    load(&Overrides { config: Some(path), ..Default::default() }, &environment)
}

#[test]
fn every_problem_is_reported_at_once_with_its_key_and_file() {
    let error = load_text(
        "memroy = \"1GiB\"\nthreads = -1\nmemory = \"lots\"\nrewrites = [\"nonsense\"]\n[catalogs]\nlake = 3\n",
        &[("FASTDATA_THREADS", "many")],
    )
    .err()
    .unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    for part in [
        "memroy",
        "did you mean 'memory'",
        "threads",
        "lots",
        "nonsense",
        "catalogs.lake",
        "FASTDATA_THREADS",
        "fastdata.toml",
        "6 problems",
    ] {
        assert!(error.message().contains(part), "{part} missing in: {error}");
    }
}

#[test]
fn dotted_properties_keep_icebergs_names() {
    let settings = load_text(
        "[catalogs.lake]\nuri = \"https://c\"\ns3.endpoint = \"http://e\"\n\"s3.path-style-access\" = true\n",
        &[("FASTDATA_CATALOG__LAKE__S3__ACCESS_KEY_ID", "AK"), ("FASTDATA_CATALOG__LAKE__URI", "https://d")],
    )
    .ok()
    .unwrap();
    let lake = &settings.catalogs["lake"].properties;
    assert_eq!(lake["uri"], "https://d");
    assert_eq!(lake["s3.endpoint"], "http://e");
    assert_eq!(lake["s3.path-style-access"], "true");
    assert_eq!(lake["s3.access-key-id"], "AK");
}

#[test]
fn an_unreadable_file_is_named() {
    let overrides = Overrides { config: Some("/nonexistent/fastdata.toml".into()), ..Default::default() };
    let error = load(&overrides, &[]).err().unwrap();
    assert!(error.message().contains("/nonexistent/fastdata.toml"), "{error}");
}

#[test]
fn a_syntax_error_is_told_by_its_place_and_never_by_its_line() {
    for (text, place) in [
        ("memory = \"1GiB\"\n[catalogs.lake]\ncredential = \"id:canary-secret\n", "line 3, column "),
        ("[catalogs.lake]\ncredential = canary-secret\n", "line 2, column "),
        ("[catalogs.lake]\n\"s3.secret-access-key\" = \"canary-secret\" oh\n", "line 2, column "),
        ("catalogs = { lake = { token = \"canary-secret\", token = \"canary-secret\" } }\n", "line 1, column "),
    ] {
        let error = load_text(text, &[]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        let whole = format!("{error:?} {}", error.advice_text().unwrap_or_default());
        assert!(error.message().contains("fastdata.toml: ") && error.message().contains(place), "{error}");
        assert!(!whole.contains("canary"), "{whole}");
    }
    assert_eq!(place_of("äö\nüx = 1", Some(7..8)), "line 2, column 2: ", "columns count characters");
}

#[test]
fn times_parse_or_say_how_to_write_them() {
    for (text, milliseconds) in [
        ("500ms", 500),
        ("30s", 30_000),
        ("30", 30_000),
        ("1.5 s", 1_500),
        ("5m", 300_000),
        ("5min", 300_000),
        ("1h", 3_600_000),
        ("1d", 86_400_000),
        ("0ms", 0),
        ("0", 0),
    ] {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
    }
    for bad in ["", "s", "soon", "-1s", "1x", "1e3", "99999d"] {
        assert!(parse_duration(bad).is_err_and(|why| why.contains("write e.g. 500ms, 30s, 5m, 1h, 1d")), "{bad}");
    }
    assert_eq!(parse_timeout("30"), Ok(Duration::from_secs(30)));
    assert!(parse_timeout("0s").is_err());
}

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f.toml");
    std::fs::write(&path, "memory = \"1GiB\"\nthreads = 3\ntimeout = \"10m\"\n").unwrap();
    let overrides = Overrides { config: Some(path), memory: Some(7 << 20), ..Default::default() };
    let environment = [("FASTDATA_MEMORY".to_owned(), "2GiB".to_owned()), ("FASTDATA_THREADS".to_owned(), "5".to_owned())];
    let settings = load(&overrides, &environment).ok().unwrap();
    assert_eq!((settings.memory, settings.threads, settings.timeout), (Some(7 << 20), 5, Some(Duration::from_secs(600))));
    let environment = [("FASTDATA_TIMEOUT".to_owned(), "90s".to_owned())];
    assert_eq!(load(&overrides, &environment).ok().unwrap().timeout, Some(Duration::from_secs(90)));
    for none in ["0s", "soon"] {
        let environment = [("FASTDATA_TIMEOUT".to_owned(), none.to_owned())];
        assert!(load(&overrides, &environment).err().unwrap().message().contains("FASTDATA_TIMEOUT"), "{none}");
    }
}

#[test]
fn sizes_parse_or_say_how_to_write_them() {
    assert_eq!(parse_bytes("512MiB"), Ok(512 << 20));
    assert_eq!(parse_bytes("1.5 GiB"), Ok(3 << 29));
    assert_eq!(parse_bytes("1000"), Ok(1000));
    for bad in ["", "x", "-1", "1XB", "0", "1e40GiB"] {
        assert!(parse_bytes(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_budget_that_is_too_little_is_refused_by_name() {
    assert_eq!(parse_memory("1MiB"), Ok(1 << 20));
    assert!(parse_memory("1KiB").unwrap_err().contains("at least 1MiB"));
    let error = load_text("memory = \"1023KiB\"\n", &[("FASTDATA_MEMORY", "4")]).err().unwrap();
    for part in ["fastdata.toml: memory: '1023KiB'", "environment: FASTDATA_MEMORY: '4'", "2 problems"] {
        assert!(error.message().contains(part), "{part} missing in: {error}");
    }
}

const SERVER: &str = r#"
[server]
listen = "[::1]:1"
admin = "localhost:2"
grace = "1m"
staleness = "500ms"
plaintext = true
[server.tls]
certificate = "c.pem"
key = "k.pem"
client-ca = "ca.pem"
client-certificates = "optional"
[server.tickets]
lifetime = "2h"
keys = "keys"
[server.auth]
tokens = "tokens"
[server.auth.jwt]
jwks = "http://127.0.0.1:3/jwks"
issuer = "i"
audience = ["a"]
[server.limits]
streams = 7
request-bytes = 1024
plan-bytes = "1MiB"
[[policy]]
principals = ["*"]
tables = ["ml.*"]
[[policy]]
groups = ["g"]
columns = ["id"]
filter = "id > 0"
"#;

#[test]
fn the_servers_settings_are_plain_values_with_defaults() {
    let settings = load_text(SERVER, &[("FASTDATA_SERVER_LISTEN", "127.0.0.1:9")]).ok().unwrap();
    let server = settings.server;
    assert_eq!((server.listen, server.admin), ("127.0.0.1:9".parse().unwrap(), Some("127.0.0.1:2".parse().unwrap())));
    assert_eq!((server.grace.as_secs(), server.staleness.as_millis(), server.plaintext), (60, 500, true));
    assert_eq!(server.tls.unwrap().client_certificates, ClientCertificates::Optional);
    assert_eq!((server.tickets.lifetime.as_secs(), server.tickets.keys), (7200, Some("keys".into())));
    let jwt = server.auth.jwt.unwrap();
    assert_eq!((jwt.principal_claim.as_str(), jwt.algorithms.len()), ("sub", JwtSettings::ALGORITHMS.len()));
    let limits = Limits { streams: 7, request_bytes: 1024, plan_bytes: 1 << 20, ..Limits::default() };
    assert_eq!(server.limits, limits);
    assert_eq!(settings.policy.len(), 2);
    assert_eq!(settings.policy[0].columns, None);
    assert_eq!(settings.policy[1].columns, Some(vec!["id".to_owned()]));
    assert_eq!(load_text("", &[]).ok().unwrap().server, ServerSettings::default());
}

#[test]
fn every_problem_of_the_servers_settings_is_reported_at_once_with_its_key() {
    let text = r#"
[server]
listen = "somewhere"
grace = "soon"
plaintext = "no"
lissten = "x"
[server.tls]
certificate = ""
client-certificates = "maybe"
[server.tickets]
lifetime = "0s"
[server.auth.jwt]
jwks = "http://issuer.example/jwks"
issuer = "i"
audience = []
algorithms = ["RS256", "HS256"]
[server.limits]
streams = 0
request-bytes = "much"
handshake = "0s"
[[policy]]
tables = ["t", "a.*b"]
columns = []
"#;
    let error = load_text(text, &[("FASTDATA_SERVER_ADMIN", "x")]).err().unwrap();
    let expected = [
        "server.listen: 'somewhere'",
        "server.grace: 'soon'",
        "server.plaintext: must be true or false",
        "server.lissten: unknown key; did you mean 'listen'?",
        "server.tls.certificate: must not be empty",
        "server.tls.key: is missing",
        "server.tls.client-certificates: 'maybe'",
        "server.tickets.lifetime:",
        "server.auth.jwt.jwks: 'http://issuer.example/jwks' must be https",
        "server.auth.jwt.audience:",
        "server.auth.jwt.algorithms: 'HS256' is not accepted",
        "server.limits.streams:",
        "server.limits.request-bytes: 'much'",
        "server.limits.handshake: must be longer than nothing",
        "policy[1].principals:",
        "policy[1].tables: 't': write namespace.table",
        "policy[1].tables: 'a.*b': a '*' stands only at the end",
        "policy[1].columns:",
        "environment: FASTDATA_SERVER_ADMIN:",
    ];
    for part in expected {
        assert!(error.message().contains(part), "{part} missing in: {error}");
    }
    assert!(error.message().contains(&format!("{} problems", expected.len())), "{error}");
}

/// A wrong policy must never be read as one that allows more.
#[test]
fn a_policy_of_another_form_is_refused() {
    for text in ["policy = \"all\"\n", "[policy]\nprincipals = [\"*\"]\n", "policy = [1]\n", "server = 1\n"] {
        assert!(load_text(text, &[]).is_err(), "{text}");
    }
}

#[test]
fn plain_text_leaves_loopback_only_when_asked_to() {
    let on = |listen: &str, change: fn(&mut ServerSettings)| {
        let mut server = ServerSettings { listen: listen.parse().unwrap(), ..ServerSettings::default() };
        change(&mut server);
        server.check_listen()
    };
    assert!(on("127.0.0.1:1", |_| ()).is_ok() && on("[::1]:1", |_| ()).is_ok());
    for other in ["0.0.0.0:1", "[::]:1", "192.168.0.1:1"] {
        assert_eq!(on(other, |_| ()).unwrap_err().kind(), ErrorKind::Config);
        assert!(on(other, |server| server.plaintext = true).is_ok());
    }
}
