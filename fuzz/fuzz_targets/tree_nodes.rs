#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| russet_fuzz::repository::tree_nodes(data));
