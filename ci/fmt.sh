#!/bin/bash
# Formatting as rustfmt wants it.
. "$(dirname "$0")/lib.sh"
cargo fmt --all -- --check
