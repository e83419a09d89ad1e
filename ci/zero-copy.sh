#!/bin/bash
# Boots an emulated igb in QEMU and proves true zero-copy on it; writes target/zero-copy/summary.json. No root needed.
# Where QEMU or its kernel cannot be had the test skips aloud; SHRIKE_REQUIRE=qemu makes that a failure.
. "$(dirname "$0")/lib.sh"
ci/install-packages.sh build
ci/get-onnxruntime.sh >/dev/null
say "building"
cargo build --locked --release --quiet --bin shrike
export SHRIKE_RELEASE=${CARGO_TARGET_DIR:-$ROOT/target}/release/shrike
rm -f target/zero-copy/summary.json
cargo test --locked --quiet --test zero_copy -- --nocapture --test-threads 1
[ ! -e target/zero-copy/summary.json ] || cat target/zero-copy/summary.json
