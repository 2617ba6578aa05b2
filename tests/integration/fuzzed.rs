//! The fuzzing targets as ordinary tests: seeds, inputs that once failed, and some thousand mutations of both.
//!
//! Contract: the promises are those of `fuzz/src/promises`, the same functions that `make fuzz` runs for longer. Mutations are the same
//! in every run. An input that breaks a promise, or takes longer than [`MOST_TIME`], is written to a file which the failure names: with
//! the cure it goes to `tests/regressions`, where it is run for ever.

#[path = "../../fuzz/src/promises/mod.rs"]
mod promises;

use crate::support::{corpus, root};
use promises::{TARGETS, Target, seeds};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

const MUTATIONS: usize = 20_000;
/// Mutations of larger inputs rarely hit anything, and take their time.
const MUTATED: usize = 16 << 10;
/// For one input, on a machine that does other things too.
const MOST_TIME: Duration = Duration::from_secs(5);

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("a target")
}

/// What once failed, from `tests/regressions/<target>`.
fn regressions(target: &Target) -> Vec<Vec<u8>> {
    let folder = root().join("tests/regressions").join(target.name);
    let mut paths: Vec<_> = std::fs::read_dir(&folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Seeds and regressions. Without a corpus there are the regressions and, for filters, our own texts.
fn inputs(target: &Target) -> Vec<Vec<u8>> {
    let mut inputs = regressions(target);
    match corpus() {
        Some(corpus) => inputs.extend((target.seeds)(&corpus)),
        None if target.name == "filter" => inputs.extend(seeds::own_filters()),
        None => {}
    }
    inputs
}

fn hold(target: &Target, input: &[u8]) {
    let started = Instant::now();
    let broken = catch_unwind(AssertUnwindSafe(|| (target.check)(input))).is_err();
    let took = started.elapsed();
    if broken || took > MOST_TIME {
        let name = format!("{}-{:08x}", target.name, crc32fast::hash(input));
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, input).unwrap();
        panic!("{} (broken: {broken}, took {took:?}); with the cure, move it to tests/regressions/{}", path.display(), target.name);
    }
}

fn hold_all(name: &str) {
    let target = target(name);
    let inputs = inputs(target);
    inputs.iter().for_each(|input| hold(target, input));
    let small: Vec<&Vec<u8>> = inputs.iter().filter(|input| input.len() <= MUTATED).collect();
    if small.is_empty() {
        return;
    }
    let mut mutator = Mutator { state: u64::from(crc32fast::hash(name.as_bytes())) };
    for _ in 0..MUTATIONS {
        let mutated = mutator.mutate(&small);
        hold(target, &mutated);
    }
}

#[test]
fn manifests_keep_their_promises_whatever_the_bytes() {
    hold_all("manifest");
}

#[test]
fn manifest_lists_keep_their_promises_whatever_the_bytes() {
    hold_all("manifest_list");
}

#[test]
fn table_metadata_keeps_its_promises_whatever_the_bytes() {
    hold_all("metadata");
}

#[test]
fn deletion_vectors_keep_their_promises_whatever_the_bytes() {
    hold_all("deletion_vector");
}

#[test]
fn filters_keep_their_promises_whatever_the_text() {
    hold_all("filter");
}

/// Seeds that no decoder accepts would test nothing.
#[test]
fn most_seeds_are_read_and_inflating_a_manifest_changes_no_answer() {
    let Some(corpus) = corpus() else { return };
    let read = |name: &str, decode: &dyn Fn(&[u8]) -> bool| {
        let seeds = (target(name).seeds)(&corpus);
        let good = seeds.iter().filter(|seed| decode(seed)).count();
        assert!(good * 10 >= seeds.len() * 7, "{name}: {good} of {} seeds are read", seeds.len());
        good
    };
    let manifests = read("manifest", &|seed| fastdata_plan::manifest::decode("m", seed).is_ok());
    let lists = read("manifest_list", &|seed| fastdata_plan::manifest::decode_list("l", seed).is_ok());
    let tables = read("metadata", &|seed| fastdata_catalog::parse_metadata(seed).is_ok());
    let vectors = read("deletion_vector", &|seed| {
        let positions = roaring::RoaringTreemap::deserialize_from(seed).unwrap();
        fastdata_read::decode_deletion_vector(&promises::containers::framed(seed), positions.len()).is_ok()
    });
    assert!((seeds::filters(&corpus)).len() > seeds::own_filters().len() && seeds::own_filters().len() > 50);
    assert!(manifests > 100 && lists > 100 && tables > 200 && vectors >= 8, "{manifests} {lists} {tables} {vectors}");
    let mut inflated = 0;
    for file in (target("manifest").seeds)(&corpus) {
        if let Some(plain) = promises::containers::inflated(&file) {
            assert_eq!(fastdata_plan::manifest::decode("m", &plain).ok(), fastdata_plan::manifest::decode("m", &file).ok());
            inflated += 1;
        }
    }
    assert!(inflated > 50, "{inflated}");
}

/// A reader that could be fed with anything would keep every promise: these break them.
#[test]
fn the_count_of_memory_sees_what_is_taken() {
    let (_, peak) = promises::allocation::peak_of(|| {
        drop(vec![1u8; 3 << 20]);
        vec![1u8; 1 << 20]
    });
    assert!((3 << 20..4 << 20).contains(&peak), "{peak}");
}

/// The fuzzing crate has a lock file of its own: it must test the versions that ship.
#[test]
fn the_fuzzing_crate_is_built_with_the_versions_that_ship() {
    let versions = |path: &str| -> Vec<(String, String)> {
        let lock: toml::Table = std::fs::read_to_string(root().join(path)).unwrap().parse().unwrap();
        let packages = lock["package"].as_array().unwrap().iter();
        packages.map(|p| (p["name"].as_str().unwrap().to_owned(), p["version"].as_str().unwrap().to_owned())).collect()
    };
    let (ours, fuzzed) = (versions("Cargo.lock"), versions("fuzz/Cargo.lock"));
    assert!(fuzzed.iter().any(|(name, _)| name == "fastdata-plan") && fuzzed.len() > 100);
    let other: Vec<_> = fuzzed.iter().filter(|p| ours.iter().any(|o| o.0 == p.0) && !ours.contains(p)).collect();
    assert!(other.is_empty(), "fuzz/Cargo.lock has other versions than Cargo.lock: {other:?}");
}

/// Changes inputs as fuzzers do, the same way in every run.
struct Mutator {
    state: u64,
}

impl Mutator {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn mutate(&mut self, inputs: &[&Vec<u8>]) -> Vec<u8> {
        let mut bytes = inputs[self.below(inputs.len())].clone();
        for _ in 0..1 + self.below(4) {
            let other = inputs[self.below(inputs.len())];
            self.change(&mut bytes, other);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        const NUMBERS: [u64; 8] = [0, 1, 0x7f, 0x80, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
        let at = self.below(bytes.len());
        let end = (at + 1 + self.below(32)).min(bytes.len());
        match self.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = self.next() as u8,
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => {
                let again = bytes[at..end].repeat(1 + self.below(20));
                bytes.splice(at..at, again);
            }
            5 => {
                let number = NUMBERS[self.below(NUMBERS.len())].to_le_bytes();
                bytes.splice(at..end, number[..1 << self.below(4)].iter().copied());
            }
            6 => {
                let from = self.below(other.len());
                let to = (from + 1 + self.below(200)).min(other.len());
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            _ => {
                // A small change of a number, as of a count or a length.
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = byte.wrapping_add(1 + (self.next() % 4) as u8).wrapping_sub(2);
                }
            }
        }
    }
}
