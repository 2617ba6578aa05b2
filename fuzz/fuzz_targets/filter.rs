//! Fuzzes what `fastdata_fuzz::promises` promise of this kind of input.
#![no_main]

use fastdata_fuzz::promises::filter::filter;
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: fastdata_fuzz::write_seeds("filter"), |bytes: &[u8]| filter(bytes));
