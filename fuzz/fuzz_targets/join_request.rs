//! See `quorate_fuzz::join_request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quorate_fuzz::join_request(data));
