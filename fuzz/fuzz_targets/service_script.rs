#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lsps_testing::fuzzing::service_script(bytes));
