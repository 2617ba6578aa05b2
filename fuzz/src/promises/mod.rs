//! What the decoders of bytes from anywhere promise, as functions of those bytes that fail where a promise is broken.
//!
//! Problem: a fuzzer finds what nobody thought of, but it runs for hours and not in every build. Contract: each target is one function,
//! and everybody calls the same one: the fuzzing binaries in `fuzz/fuzz_targets`, and the ordinary test `tests/integration/fuzzed.rs`,
//! which includes this module and holds the targets to the seeds, to all inputs that once failed, and to some thousand mutations. How: a
//! file for each kind of input; what all have in common stands here: errors of the right kind, messages that a terminal and a log can
//! hold, memory within a bound, which [`allocation`] counts. [`seeds`] finds inputs in the tables of other engines.

pub mod allocation;
pub mod avro;
pub mod containers;
pub mod deletion_vector;
pub mod filter;
pub mod metadata;
pub mod seeds;

use allocation::peak_of;
use fastdata_types::{Error, ErrorKind};
use std::path::Path;

/// One decoder and its promises.
pub struct Target {
    pub name: &'static str,
    /// Fails by panic, with words that say which promise the input breaks.
    pub check: fn(&[u8]),
    /// Inputs to start from, made of the files below the corpus folder.
    pub seeds: fn(&Path) -> Vec<Vec<u8>>,
}

pub const TARGETS: [Target; 5] = [
    Target { name: "manifest", check: avro::manifest, seeds: seeds::manifests },
    Target { name: "manifest_list", check: avro::manifest_list, seeds: seeds::manifest_lists },
    Target { name: "metadata", check: metadata::metadata, seeds: seeds::metadata },
    Target { name: "deletion_vector", check: deletion_vector::deletion_vector, seeds: seeds::deletion_vectors },
    Target { name: "filter", check: filter::filter, seeds: seeds::filters },
];

/// Longest message. Names from files are cut before they are quoted.
const MAX_MESSAGE: usize = 2_000;
/// What any decoder may take, however short its input.
const BASE: usize = 1 << 20;

/// Does the work and holds it to `per_byte` bytes of memory for each byte of the input, and some.
fn within<T>(per_byte: usize, input: &[u8], work: impl FnOnce() -> T) -> T {
    within_bytes(BASE + per_byte * input.len(), input, work)
}

fn within_bytes<T>(most: usize, input: &[u8], work: impl FnOnce() -> T) -> T {
    let (result, peak) = peak_of(work);
    assert!(peak <= most, "an input of {} bytes took {peak} bytes of memory, {most} are allowed", input.len());
    result
}

/// Holds an error to the kinds that it may have.
fn refused(error: &Error, kinds: &[ErrorKind]) {
    assert!(kinds.contains(&error.kind()), "an error of the wrong kind: {error:?}");
    assert!(!error.message().is_empty() && error.message().len() <= MAX_MESSAGE, "a message of {} bytes", error.message().len());
}
