//! One libFuzzer program for all targets; `SHRIKE_FUZZ_TARGET` names the entry in `shrike::fuzzing::TARGETS`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shrike::fuzzing::TARGETS;
use std::sync::LazyLock;

static ENTRY: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("SHRIKE_FUZZ_TARGET").expect("SHRIKE_FUZZ_TARGET names the target");
    let target = TARGETS.iter().find(|target| target.0 == name);
    target.unwrap_or_else(|| panic!("no such target: {name}")).1
});

fuzz_target!(|data: &[u8]| ENTRY(data));
