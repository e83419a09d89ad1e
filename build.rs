//! Builds the XDP program with clang and leaves the object where `include_bytes!` finds it.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=src/bpf");
    println!("cargo:rerun-if-env-changed=CLANG");
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let object = Path::new(&std::env::var("OUT_DIR").expect("cargo sets OUT_DIR")).join("shrike.bpf.o");
    let status = Command::new(&clang)
        // -g: libbpf reads map definitions and types from BTF, which clang makes from debug information.
        // -mcpu=v3: 32-bit sub-registers and jumps; every kernel from 5.1 on takes it, we need 5.18 for xdp.frags.
        .args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-fno-stack-protector"])
        .args(["-c", "src/bpf/shrike.bpf.c", "-o"])
        .arg(&object)
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("building src/bpf/shrike.bpf.c with {clang} failed ({status}); its messages are above"),
        Err(error) => panic!(
            "building src/bpf/shrike.bpf.c needs clang, which could not be started as {clang:?}: {error}. Remedy: \
             `apt-get install clang` (or `bash ci/install-packages.sh build`), or set CLANG to its path; clang 11 or newer will do"
        ),
    }
}
