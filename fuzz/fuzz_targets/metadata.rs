//! Fuzzes what `fastdata_fuzz::promises` promise of this kind of input.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: fastdata_fuzz::write_seeds("metadata"), |bytes: &[u8]| fastdata_fuzz::promises::metadata::metadata(bytes));
