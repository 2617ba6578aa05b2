//! Attacks by hand, and a hundred thousand made by mutation against a judge that is written differently.

use super::*;
use crate::mutations::mutated;
use rand::SeedableRng;
use rand::rngs::StdRng;

fn policy(allowed: &[&str], rules: &[(&str, &str)]) -> Policy {
    let rules: Vec<_> = rules.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect();
    let allowed: Vec<_> = allowed.iter().map(|prefix| prefix.to_string()).collect();
    Policy::new(&allowed, Rewrites::new(&rules, "/cwd").unwrap(), "/cwd").unwrap()
}

fn local(root: &str, beneath: &str) -> Admitted {
    Admitted::Local { root: root.into(), beneath: beneath.into() }
}

fn s3(bucket: &str, key: &str) -> Admitted {
    Admitted::S3 { bucket: bucket.into(), key: key.into() }
}

#[test]
fn files_of_the_table_are_admitted_byte_for_byte() {
    let policy = policy(&["file:///wh/t", "s3://bucket/wh/t/"], &[("s3a://old", "/wh")]);
    assert_eq!(policy.admit("/wh/t/data/a%20b.parquet").unwrap(), local("/wh/t", "data/a%20b.parquet"));
    assert_eq!(policy.admit("file:/wh/t/data//x").unwrap(), local("/wh/t", "data/x"));
    assert_eq!(policy.admit("s3a://old/t/data/c=a%2Fb/x").unwrap(), local("/wh/t", "data/c=a%2Fb/x"));
    assert_eq!(policy.admit("s3n://bucket/wh/t//a b?#\u{e9}").unwrap(), s3("bucket", "wh/t//a b?#\u{e9}"));
    assert_eq!(policy.admit("/wh/t/..data/x..").unwrap(), local("/wh/t", "..data/x.."));
}

#[test]
fn whatever_leaves_the_allowed_prefixes_is_refused_with_advice() {
    let policy = policy(&["/wh/t", "s3://bucket/wh/t"], &[("s3a://old", "/wh")]);
    let attacks = [
        "file:///etc/passwd",
        "/etc/passwd",
        "etc/passwd",
        "/wh/t/../../etc/passwd",
        "/wh/t/%2e%2e/%2E%2E/etc/passwd",
        "/wh/t/%252e%252e/etc/passwd",
        "/wh/t/.%2e/x",
        "/wh/t/a%2f..%2f..%2fx",
        "/wh/t/data\\..\\..\\a.parquet",
        "/wh/t/data%5c..%5cx",
        "/wh/t/..",
        "/wh/t-evil/data/a.parquet",
        "/wh/tt",
        "/wh",
        "/wh/t/a\0.parquet",
        "/wh/t/a\n",
        "/wh/t/a\u{85}",
        "s3a://old/u/x",
        "s3a://old/t/../u/x",
        "s3://other/wh/t/x",
        "s3://bucket/wh/t-evil/x",
        "s3://bucket/wh/t/../../x",
        "s3://bucket/wh//t/x",
        "s3://bucket/wh/t/./x",
        "s3://user@bucket/wh/t/x",
        "s3://bucket@127.0.0.1:9/wh/t/x",
        "s3://bucket:80/wh/t/x",
        "s3:/bucket/wh/t/x",
        "s3:bucket/wh/t/x",
        "s3:///wh/t/x",
        "http://169.254.169.254/latest/meta-data/",
        "https://bucket/wh/t/x",
        "gs://bucket/wh/t/x",
        "abfss://c@account.dfs.core.windows.net/wh/t/x",
        "hdfs://nn/wh/t/x",
        "file://evil@/wh/t/x",
        "C:\\wh\\t",
        "",
    ];
    for attack in attacks {
        let error = policy.admit(attack).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LocationNotAllowed, "{attack}");
        assert!(["--rewrite", "--allow"].iter().all(|flag| error.advice_text().unwrap().contains(flag)), "{attack}");
        assert!(!error.advice_text().unwrap().contains("--moved"), "{attack}");
        assert!(!error.message().contains(char::is_control), "{attack}");
    }
    let policy = policy.advising_moved(true);
    assert!(policy.admit("/etc/passwd").unwrap_err().advice_text().unwrap().contains("--moved"));
    assert!(policy.admit("gs://bucket/x").unwrap_err().message().contains("scheme 'gs'"));
    assert!(policy.admit(&format!("/wh/t/{}", "a".repeat(10_000))).unwrap_err().message().len() < 400);
}

#[test]
fn nothing_is_allowed_where_nothing_was_named() {
    assert!(policy(&[], &[]).admit("/wh/t/x").is_err());
    assert!(Policy::new(&["".into()], Rewrites::new(&[], "/").unwrap(), "/").is_err());
}

#[test]
fn an_allowed_place_of_another_scheme_is_unsupported_by_name() {
    let error = policy(&["gs://bucket/wh"], &[]).admit("gs://bucket/wh/t/x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("'gs'"));
}

#[test]
fn an_allowed_prefix_holds_as_given_and_as_rewritten() {
    let moved = policy(&["s3a://warehouse/t"], &[("s3a://warehouse", "/data")]);
    assert_eq!(moved.admit("s3a://warehouse/t/x").unwrap(), local("/data/t", "x"));
    assert_eq!(moved.admit("/data/t/x").unwrap(), local("/data/t", "x"));
    assert!(moved.admit("/data/u/x").is_err());
    let below = policy(&["/a/b"], &[("/a", "/a/b")]);
    assert_eq!(below.admit("/a/x").unwrap(), local("/a/b", "x"));
}

#[test]
fn the_dots_of_an_allowed_prefix_are_the_operators() {
    let policy = policy(&["../wh"], &[]);
    assert_eq!(policy.admit("../wh/t/x").unwrap(), local("/cwd/../wh", "t/x"));
    assert!(policy.admit("../wh/../x").is_err());
    assert!(policy.admit("../wh2/x").is_err());
}

/// Whether an independent reading of an admitted place lies outside of what is allowed: decode until nothing changes, resolve dots on
/// a stack, then compare with what the operator meant.
fn escapes(admitted: &Admitted) -> bool {
    let raw = match admitted {
        Admitted::Local { root, beneath } => format!("local|{root}/{beneath}"),
        Admitted::S3 { bucket, key } => format!("{bucket}|/{key}"),
    };
    if raw.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return true;
    }
    let (authority, mut path) = raw.split_once('|').map(|(a, p)| (a.to_string(), p.to_string())).unwrap();
    let mut readings = vec![path.clone()];
    for _ in 0..6 {
        let mut next = String::new();
        let bytes: Vec<char> = path.chars().collect();
        let mut at = 0;
        while at < bytes.len() {
            let code: String = bytes[at..].iter().skip(1).take(2).collect();
            match (bytes[at], u8::from_str_radix(&code, 16)) {
                ('%', Ok(value)) if code.len() == 2 && !code.starts_with('+') => {
                    next.push(value as char);
                    at += 3;
                }
                (c, _) => {
                    next.push(c);
                    at += 1;
                }
            }
        }
        path = next;
        readings.push(path.clone());
    }
    readings.iter().any(|reading| {
        let mut stack: Vec<&str> = Vec::new();
        for part in reading.split(['/', '\\']) {
            match part {
                "" | "." => {}
                ".." => {
                    if stack.pop().is_none() {
                        return true;
                    }
                }
                part => stack.push(part),
            }
        }
        let inside = match authority.as_str() {
            "local" => stack.starts_with(&["wh", "t"]),
            "bucket" => stack.starts_with(&["wh", "t"]),
            _ => false,
        };
        !inside
    })
}

/// The same question put to a URL library, for what it calls host and path.
fn url_escapes(key_of_bucket: &Admitted) -> bool {
    let Admitted::S3 { bucket, key } = key_of_bucket else { return false };
    let Ok(url) = url::Url::parse(&format!("http://{bucket}/{key}")) else { return true };
    url.host_str() != Some("bucket") || !url.path().starts_with("/wh/t") || !url.username().is_empty()
}

#[test]
fn of_a_hundred_thousand_mutated_locations_none_escapes() {
    let policy = policy(&["/wh/t", "s3://bucket/wh/t"], &[("s3a://old/place", "/wh/t"), ("hdfs://*/user", "s3://bucket/wh/t")]);
    let seeds = [
        "/wh/t/data/a.parquet",
        "file:///wh/t/data/a.parquet",
        "file:/wh/t/metadata/m0.avro",
        "s3://bucket/wh/t/data/c=1/a.parquet",
        "s3a://bucket/wh/t/data/a.parquet",
        "s3a://old/place/data/a.parquet",
        "hdfs://nn:8020/user/data/a.parquet",
    ];
    let mut rng = StdRng::seed_from_u64(0xFA57_DA7A);
    let (mut admitted, mut refused) = (0u32, 0u32);
    for round in 0..100_000 {
        let location = mutated(&mut rng, &seeds, &[]);
        match policy.admit(&location) {
            Ok(place) => {
                admitted += 1;
                assert!(!escapes(&place) && !url_escapes(&place), "round {round}: {location:?} became {place:?}");
                assert!(!location.contains(['\0', '\n']), "round {round}: {location:?}");
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.kind(), ErrorKind::LocationNotAllowed, "round {round}: {location:?}");
            }
        }
    }
    assert!(admitted > 10_000 && refused > 30_000, "{admitted} admitted, {refused} refused");
}
