#!/bin/bash
# detect-report.sh [FILE...]: what the detectors (without the model) say about every labelled capture, or about FILEs.
#
# One line per capture that was or should have been noticed, then `found of captures` for each family. It reports; the
# floors are asserted by tests/detect_captures.rs.
. "$(dirname "$0")/lib.sh"

if [ $# -gt 0 ]; then
  SHRIKE_DETECT_FILES=$(printf '%s:' "$@")
  export SHRIKE_DETECT_FILES
  filter=captures_named_by_the_environment_are_shown
else
  export SHRIKE_DETECT_ALL=1
  filter=attacks_are_found_and_benign_traffic_is_quiet
fi
cargo test --locked --quiet --test detect_captures "$filter" -- --nocapture
