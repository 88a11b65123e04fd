#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drop(lsps_testing::fuzzing::client_script(bytes)));
