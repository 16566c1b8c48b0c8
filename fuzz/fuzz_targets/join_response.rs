//! See `quorate_fuzz::join_response`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quorate_fuzz::join_response(data));
