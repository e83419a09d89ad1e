#!/bin/bash
# The newcomer's command: installs what is missing, builds, and hands over to `shrike demo`, which says what it needs.
. "$(dirname "$0")/lib.sh"
ci/install-packages.sh build
# Without these there is no lab, but there is the recorded one: not being root is no reason to show nothing.
ci/install-packages.sh demo || say "going on without them: the demo shows its recorded capture"
ci/get-onnxruntime.sh >/dev/null || say "going on without the model: its runtime cannot be had"
say "building (the first time takes some minutes)"
cargo build --locked --release --bin shrike
exec "${CARGO_TARGET_DIR:-target}/release/shrike" demo ${DEMO_SECONDS:+--seconds "$DEMO_SECONDS"} "$@"
