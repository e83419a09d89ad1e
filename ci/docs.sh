#!/bin/bash
# The library's documentation builds without a warning (broken links, missing docs).
. "$(dirname "$0")/lib.sh"
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --lib --quiet
