//! Fuzzes what `fastdata_fuzz::promises` promise of this kind of input.
#![no_main]

use fastdata_fuzz::promises::avro::manifest_list;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: fastdata_fuzz::write_seeds("manifest_list"), |bytes: &[u8]| manifest_list(bytes));
