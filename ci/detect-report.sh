#!/bin/bash
# detect-report.sh [FILE...]: what the detectors (without the model) say about every labelled capture, or about FILEs.
#
# One line per capture that was or should have been noticed, then `found of captures` for each family. It reports; the
# floors are asserted by tests/detect_captures.rs.
. "$(dirname "$0")/lib.sh"

if [ $# -gt 0 ]; then
  cargo build --locked --quiet --bin shrike
  for file in "$@"; do
    say "$file"
    "${CARGO_TARGET_DIR:-target}/debug/shrike" replay --no-model "$file"
  done
  exit
fi
export SHRIKE_DETECT_ALL=1
cargo test --locked --quiet --test detect_captures attacks_are_found_and_benign_traffic_is_quiet -- --nocapture
