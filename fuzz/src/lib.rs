//! The library of the fuzzing binaries: the promises, and seeds for the fuzzer.
//!
//! Contract: built by scripts/fuzz.sh only. Everything that ordinary tests share is in [`promises`].

pub mod promises;

use std::path::Path;

/// Writes the seeds of a target, one file each, before the fuzzer reads its corpus: the environment variable
/// `FASTDATA_FUZZ_SEEDS` names the folder, `FASTDATA_CORPUS` where they come from. Does nothing without the two.
pub fn write_seeds(name: &str) {
    let (Some(into), Some(corpus)) = (std::env::var_os("FASTDATA_FUZZ_SEEDS"), std::env::var_os("FASTDATA_CORPUS")) else { return };
    let target = promises::TARGETS.iter().find(|target| target.name == name).expect("the target is in the list");
    let into = Path::new(&into);
    std::fs::create_dir_all(into).expect("the folder of the seeds can be made");
    for (at, seed) in (target.seeds)(Path::new(&corpus)).into_iter().enumerate() {
        std::fs::write(into.join(format!("seed-{at:04}")), seed).expect("a seed can be written");
    }
}
