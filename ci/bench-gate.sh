#!/bin/bash
# bench-gate.sh [record]: fails if a gated case takes more than 2 % more instructions than benches/baseline.json says;
# `record` writes that file anew, for a commit that names the cause.
. "$(dirname "$0")/lib.sh"
command -v valgrind >/dev/null || die "valgrind is needed to count instructions: ci/install-packages.sh test"
cargo bench --locked --quiet --bench engine -- gate "$@"
