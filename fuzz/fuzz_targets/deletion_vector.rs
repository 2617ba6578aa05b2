//! Fuzzes what `fastdata_fuzz::promises` promise of this kind of input.
#![no_main]

use fastdata_fuzz::promises::deletion_vector::deletion_vector;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: fastdata_fuzz::write_seeds("deletion_vector"), |bytes: &[u8]| deletion_vector(bytes));
