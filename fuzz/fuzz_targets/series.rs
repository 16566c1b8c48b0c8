//! See `quorate_fuzz::series`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quorate_fuzz::series(data));
