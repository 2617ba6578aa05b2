//! Local files: what is read, and what an attacker does not get.

use crate::Stores;
use crate::mutations::mutated;
use fastdata_types::error::ErrorKind;
use fastdata_types::store::{Store, StoreFactory, StoreScope};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn store(allowed: &Path) -> Arc<dyn Store> {
    let scope = StoreScope { allowed: vec![allowed.to_str().unwrap().to_string()], ..StoreScope::default() };
    Stores::with_environment(Default::default()).open(scope).unwrap()
}

fn at(directory: &Path, name: &str) -> String {
    format!("{}/{name}", directory.display())
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("hangs")
}

/// A table directory and, beside it, what must not be read.
fn table() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let table = dir.path().join("wh/t");
    std::fs::create_dir_all(table.join("data")).unwrap();
    std::fs::write(dir.path().join("wh/secret"), "TOP-SECRET").unwrap();
    (dir, table)
}

#[tokio::test]
async fn a_read_gives_exactly_the_bytes_asked_for() {
    let (_dir, table) = table();
    let content: Vec<u8> = (0..9_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(table.join("data/f"), &content).unwrap();
    let (store, file) = (store(&table), at(&table, "data/f"));
    let ranges = [5..10, 0..0, 100..3_000_000, 8_999_999..9_000_000, 0..9_000_000, 9_000_000..9_000_000, 7..8];
    let read = store.read_ranges(&file, &ranges).await.unwrap();
    assert_eq!(read.len(), ranges.len());
    for (bytes, range) in read.iter().zip(&ranges) {
        assert!(bytes[..] == content[range.start as usize..range.end as usize], "{range:?}");
    }
    assert!(store.read_ranges(&file, &[]).await.unwrap().is_empty());
    assert!(store.read_all(&file, 9_000_000).await.unwrap() == content);
    assert_eq!(store.read_tail(&file, 4).await.unwrap(), (content[8_999_996..].to_vec().into(), 9_000_000));
    assert_eq!(store.read_tail(&file, u64::MAX).await.unwrap().0.len(), 9_000_000);
    assert_eq!(store.size(&file).await.unwrap(), 9_000_000);
    assert!(store.counters().bytes > 27_000_000 && store.counters().requests > 8);
}

#[tokio::test]
async fn readers_of_one_store_count_for_themselves() {
    let (_dir, table) = table();
    std::fs::write(table.join("data/f"), "0123456789").unwrap();
    let (store, file) = (store(&table), at(&table, "data/f"));
    store.read_all(&file, 10).await.unwrap();
    let (first, second) = (store.counted().unwrap(), store.counted().unwrap());
    first.read_tail(&file, 4).await.unwrap();
    first.size(&file).await.unwrap();
    second.read_ranges(&file, &[0..3]).await.unwrap();
    let counted = [&store, &first, &second].map(|store| (store.counters().requests, store.counters().bytes));
    assert_eq!(counted, [(1, 10), (2, 4), (1, 3)]);
    // All else is shared: what one has seen of a file, another checks.
    assert!(second.check("/etc/passwd").is_err());
    std::fs::write(table.join("data/f"), "0123456789ab").unwrap();
    for reader in [&first, &second] {
        assert_eq!(reader.read_ranges(&file, &[0..3]).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn a_short_file_is_an_error_that_names_it_and_allocates_nothing() {
    let (_dir, table) = table();
    std::fs::write(table.join("data/f"), "0123456789").unwrap();
    let (store, file) = (store(&table), at(&table, "data/f"));
    #[allow(clippy::reversed_empty_ranges)]
    for range in [0..11, 10..11, 0..u64::MAX, u64::MAX - 1..u64::MAX, 5..3] {
        let error = store.read_ranges(&file, &[0..1, range.clone()]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{range:?}");
        assert!(error.message().contains("data/f"), "{error}");
    }
    let error = store.read_all(&file, 9).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let (_dir, table) = table();
    let file = at(&table, "data/none");
    let store = store(&table);
    for error in
        [store.size(&file).await.unwrap_err(), store.read_all(&file, 1).await.unwrap_err(), store.read_tail(&file, 1).await.unwrap_err()]
    {
        assert_eq!(error.kind(), ErrorKind::MissingFile);
        assert!(error.message().contains(&file) && error.advice_text().is_some(), "{error}");
    }
}

#[tokio::test]
async fn what_is_not_a_regular_file_beneath_the_root_is_refused_without_hanging() {
    let (dir, table) = table();
    symlink(dir.path().join("wh/secret"), table.join("data/absolute")).unwrap();
    symlink("../../secret", table.join("data/relative")).unwrap();
    symlink("../..", table.join("data/up")).unwrap();
    symlink("/dev/zero", table.join("data/zero")).unwrap();
    symlink("/proc/self/mem", table.join("data/mem")).unwrap();
    symlink("loop", table.join("data/loop")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, table.join("data/fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(table.join("data/socket")).unwrap();
    let store = store(&table);
    for name in ["absolute", "relative", "up/secret", "zero", "mem", "loop", "fifo", "socket", ".", "../data"] {
        let file = at(&table, &format!("data/{name}"));
        for error in [
            within(store.read_all(&file, 1 << 20)).await.unwrap_err(),
            within(store.read_ranges(&file, std::slice::from_ref(&(0..10)))).await.unwrap_err(),
            within(store.read_tail(&file, 10)).await.unwrap_err(),
            within(store.size(&file)).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::LocationNotAllowed, "{name}: {error}");
            assert!(!format!("{error:?}").contains("TOP-SECRET"), "{name}");
        }
    }
    for outside in [at(dir.path(), "wh/secret"), "/dev/zero".to_string(), "/etc/passwd".to_string()] {
        assert_eq!(store.read_all(&outside, 100).await.unwrap_err().kind(), ErrorKind::LocationNotAllowed);
    }
    assert_eq!(store.list(&at(&table, "data/up")).await.unwrap_err().kind(), ErrorKind::LocationNotAllowed);
}

#[tokio::test]
async fn links_that_stay_inside_are_followed_and_the_root_may_be_one() {
    let (dir, table) = table();
    std::fs::write(table.join("data/f"), "rows").unwrap();
    symlink("f", table.join("data/alias")).unwrap();
    symlink(table.join("data"), table.join("elsewhere")).unwrap();
    symlink(&table, dir.path().join("link")).unwrap();
    for root in [table.clone(), dir.path().join("link")] {
        let store = store(&root);
        for name in ["data/f", "data/alias", "elsewhere/alias"] {
            assert_eq!(&store.read_all(&at(&root, name), 100).await.unwrap()[..], b"rows", "{name}");
        }
    }
    let one_file = store(&table.join("data/f"));
    assert_eq!(&one_file.read_all(&at(&table, "data/f"), 100).await.unwrap()[..], b"rows");
    assert!(one_file.read_all(&at(&table, "data/alias"), 100).await.is_err());
}

#[tokio::test]
async fn a_file_replaced_between_two_reads_is_noticed_and_a_version_hint_may_change() {
    let (_dir, table) = table();
    let file = at(&table, "data/f");
    std::fs::write(&file, "0123456789").unwrap();
    let reader = store(&table);
    assert_eq!(reader.read_tail(&file, 4).await.unwrap().1, 10);
    std::fs::write(at(&table, "data/new"), "abcdefghij").unwrap();
    std::fs::rename(at(&table, "data/new"), &file).unwrap();
    let error = reader.read_ranges(&file, std::slice::from_ref(&(0..4))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("replaced"), "{error}");
    assert_eq!(&reader.read_all(&file, 100).await.unwrap()[..], b"abcdefghij");
    assert!(store(&table).read_ranges(&file, std::slice::from_ref(&(0..4))).await.is_ok());
}

#[tokio::test]
async fn a_directory_is_listed_by_name_and_a_missing_one_is_empty() {
    let (_dir, table) = table();
    std::fs::write(table.join("data/a b%20"), "").unwrap();
    std::fs::create_dir(table.join("data/sub")).unwrap();
    let store = store(&table);
    let mut names = store.list(&at(&table, "data")).await.unwrap();
    names.sort();
    assert_eq!(names, ["a b%20", "sub"]);
    assert_eq!(store.list(table.to_str().unwrap()).await.unwrap(), ["data"]);
    assert!(store.list(&at(&table, "none")).await.unwrap().is_empty());
    assert_eq!(store.list("/etc").await.unwrap_err().kind(), ErrorKind::LocationNotAllowed);
}

#[tokio::test]
async fn a_moved_table_is_read_by_the_spellings_in_its_files() {
    let (_dir, table) = table();
    std::fs::write(table.join("data/f"), "rows").unwrap();
    let actual = table.to_str().unwrap().to_string();
    let scope = StoreScope {
        allowed: vec![actual.clone()],
        rewrites: crate::moved("hdfs://nn:8020/user/hive/t", &actual),
        ..StoreScope::default()
    };
    let store = Stores::with_environment(Default::default()).open(scope).unwrap();
    for location in ["hdfs://nn:8020/user/hive/t/data/f", "/user/hive/t/data/f", "hdfs:/user/hive/t/data/f"] {
        assert_eq!(&store.read_all(location, 100).await.unwrap()[..], b"rows", "{location}");
        assert_eq!(store.spelling(location), at(&table, "data/f"));
    }
}

/// Locations in a table whose folder is full of links, most of them leading out; what lies outside is marked.
#[tokio::test]
async fn of_a_hundred_thousand_mutated_locations_none_reads_what_lies_outside_of_a_tree_of_links() {
    let (dir, table) = table();
    let wh = dir.path().join("wh");
    std::fs::create_dir_all(table.join("data/deep/er")).unwrap();
    for inside in ["f", "data/f", "data/deep/f", "data/deep/er/f", "data/secret", "data/c=%2F.."] {
        std::fs::write(table.join(inside), "inside").unwrap();
    }
    for outside in ["f", "data", "t-evil", "tt", "T", "secrets"] {
        let outside = if outside == "f" { dir.path().join("f") } else { wh.join(outside) };
        if outside.ends_with("f") {
            std::fs::write(outside, "TOP-SECRET").unwrap();
        } else {
            std::fs::create_dir_all(outside.join("data")).unwrap();
            for name in ["f", "data/f", "secret"] {
                std::fs::write(outside.join(name), "TOP-SECRET").unwrap();
            }
        }
    }
    let links = [
        ("data/alias", "f".to_owned()),
        ("data/back", "deep/../f".to_owned()),
        ("data/own", at(&table, "data")),
        ("data/out", "../../secret".to_owned()),
        ("data/up", "..".to_owned()),
        ("data/upper", "../..".to_owned()),
        ("data/deep/upper", "../../../secrets".to_owned()),
        ("data/absolute", at(&wh, "secret")),
        ("data/beside", at(&wh, "t-evil")),
        ("data/loop", "loop".to_owned()),
        ("data/far", "own/up/up/data/upper".to_owned()),
        ("root", "/".to_owned()),
    ];
    links.iter().for_each(|(name, target)| symlink(target, table.join(name)).unwrap());
    let names =
        ["f", "data/f", "data/alias", "data/own/deep/er/f", "data/up/f", "data/upper/secret", "data/far/secret", "data/deep/upper/f"];
    let spelled = |scheme: &str| names.map(|name| format!("{scheme}{}", at(&table, name)));
    let seeds: Vec<String> = [spelled(""), spelled("file://"), spelled("file:")].concat();
    let more = [
        "up",
        "upper",
        "own",
        "far",
        "alias",
        "out",
        "absolute",
        "beside/f",
        "back",
        "root",
        "deep/upper",
        "secret",
        "../secret",
        "f",
        "T",
    ];

    let store = store(&table);
    let mut rng = StdRng::seed_from_u64(0x0BAD_11AC);
    let (mut read, mut refused) = (0u32, 0u32);
    for round in 0..100_000 {
        // The long way to the table is where most changes fall, so half of them are kept to what comes after it.
        let location = match round % 2 {
            0 => mutated(&mut rng, &seeds, &more),
            _ => at(&table, &mutated(&mut rng, &names, &more)),
        };
        match within(store.read_all(&location, 1 << 20)).await {
            Ok(bytes) => {
                read += 1;
                assert_eq!(&bytes[..], b"inside", "round {round}: {location:?}");
            }
            Err(error) => {
                refused += u32::from(error.kind() == ErrorKind::LocationNotAllowed);
                assert!(
                    matches!(error.kind(), ErrorKind::LocationNotAllowed | ErrorKind::MissingFile),
                    "round {round}: {location:?}: {error:?}"
                );
                assert!(!format!("{error:?}").contains("TOP-SECRET"), "round {round}: {location:?}");
            }
        }
    }
    assert!(read > 1_000 && refused > 30_000, "{read} read, {refused} refused");
}
