//! See `quorate_fuzz::calendar`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quorate_fuzz::calendar(data));
