//! The fuzzer: libFuzzer gives bytes, guided by the coverage of what it gave before, and [`readers::read`] reads them.

#![no_main]

#[path = "../../tests/fuzz/readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| readers::read(data));
