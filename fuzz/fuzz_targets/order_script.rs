#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lsps_testing::fuzzing::order_script(bytes));
