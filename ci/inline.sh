#!/bin/bash
# What an inline pair does when its process dies, hangs, restarts, is overrun or attacked, measured; writes target/inline (summary.json,
# tables.txt, plots). Needs root. Arguments go to perf/inline/measure.py, for example `ci/inline.sh --only kills --kills 10`.
. "$(dirname "$0")/lib.sh"
ci/install-packages.sh inline
ci/get-onnxruntime.sh >/dev/null
say "building"
cargo build --locked --release --quiet --bin shrike --example inline-probe
release=${CARGO_TARGET_DIR:-$ROOT/target}/release
python3 perf/inline/measure.py --shrike "$release/shrike" --probe "$release/examples/inline-probe" --out target/inline "$@"
