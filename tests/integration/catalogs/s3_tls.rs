//! A store that speaks TLS with a certificate of an authority of its own, as docs/stores/s3.md says.

use super::lake::filled;
use crate::support::{fastdata, root, succeed};
use fastdata_testkit::services::demo;
use fastdata_testkit::services::minio::{self, Minio};
use std::time::{Duration, Instant};

#[test]
fn a_store_behind_an_authority_of_its_own_is_read_where_that_is_trusted_and_named_where_it_is_not() {
    let Some(minio) = Minio::start_with_tls() else { return };
    let metadata = demo::put_table(&minio, "warehouse", "sales");
    let local = tempfile::tempdir().unwrap();
    let table = demo::build_table(local.path(), "warehouse", "sales");
    let options = ["-o", "jsonl", "--order", "stable"];
    let wanted = succeed(local.path(), &[&["scan", table.table_folder().to_str().unwrap(), "--moved"][..], &options].concat());
    assert!(wanted.lines().count() > 100);

    let page = std::fs::read_to_string(root().join("docs/stores/s3.md")).unwrap();
    let shown: String = page.lines().filter_map(|line| line.strip_prefix("export ")).map(|line| format!("{line}\n")).collect();
    let real = [
        ("http://minio.example.com:9000", minio.endpoint()),
        ("ACCESS-KEY", minio::ACCESS_KEY_ID),
        ("SECRET-KEY", minio::SECRET_ACCESS_KEY),
    ];
    let shown = filled(&shown, &real);
    let trusted = page.lines().find(|line| line.starts_with("SSL_CERT_FILE=")).and_then(|line| line.split_once(' ')).unwrap().0;
    let (variable, file) = trusted.split_once('=').unwrap();
    std::fs::copy(minio.root_certificate(), local.path().join(file)).unwrap();
    let scan = |environment: &[(&str, &str)]| {
        let mut command = fastdata(local.path());
        command.args(["scan", &metadata]).args(options).envs(shown.lines().filter_map(|line| line.split_once('=')));
        let output = command.envs(environment.iter().copied()).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, rows, said) = scan(&[(variable, file)]);
    assert_eq!(code, 0, "{said}");
    assert!(rows == wanted);

    let began = Instant::now();
    let (code, rows, said) = scan(&[]);
    assert_eq!((code, rows.as_str()), (5, ""), "{said}");
    for words in ["unauthenticated", "certificate that is not trusted", "UnknownIssuer", "SSL_CERT_FILE"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "it is not tried again");
}
