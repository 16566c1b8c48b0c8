//! See `quorate_fuzz::register`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quorate_fuzz::register(data));
