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
fn flags_win_over_variables_and_variables_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f.toml");
    std::fs::write(&path, "memory = \"1GiB\"\nthreads = 3\n").unwrap();
    let overrides = Overrides { config: Some(path), memory: Some(7 << 20), ..Default::default() };
    let environment = [("FASTDATA_MEMORY".to_owned(), "2GiB".to_owned()), ("FASTDATA_THREADS".to_owned(), "5".to_owned())];
    let settings = load(&overrides, &environment).ok().unwrap();
    assert_eq!((settings.memory, settings.threads), (7 << 20, 5));
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
