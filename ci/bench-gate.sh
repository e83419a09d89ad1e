#!/bin/bash
# bench-gate.sh [record]: fails if a gated case takes more than 2 % more instructions than benches/baseline.json says;
# `record` writes that file anew, for a commit that names the cause.
. "$(dirname "$0")/lib.sh"
command -v valgrind >/dev/null || { say "SKIPPED bench-gate: no valgrind"; exit 0; }
cargo bench --locked --quiet --bench engine -- gate "$@"
