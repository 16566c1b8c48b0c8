//! See `quorate_fuzz::coordinator`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quorate_fuzz::coordinator(data));
