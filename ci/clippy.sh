#!/bin/bash
# Every target, warnings denied.
. "$(dirname "$0")/lib.sh"
cargo clippy --locked --all-targets --quiet -- -D warnings
