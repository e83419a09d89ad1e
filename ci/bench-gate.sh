#!/bin/bash
# bench-gate.sh [record]: fails if a gated case takes more than 2 % more instructions than benches/baseline.json says;
# `record` writes that file anew. A commit that raises a figure in it must name the cause in a line "Baseline: ...", and
# that is asked of the last one that touched the file.
. "$(dirname "$0")/lib.sh"
command -v valgrind >/dev/null || die "valgrind is needed to count instructions: ci/install-packages.sh test"
ci/get-onnxruntime.sh >/dev/null

baseline=benches/baseline.json
last=$(git log -1 --format=%H -- $baseline 2>/dev/null || true)
if [ -n "$last" ] && before=$(git show "$last^:$baseline" 2>/dev/null); then
  raised=$(python3 - "$before" "$(git show "$last:$baseline")" <<'EOF'
import json, sys
before, after = map(json.loads, sys.argv[1:])
print(", ".join(case for case in before if after.get(case, 0) > before[case] * 1.0001))
EOF
  )
  if [ -n "$raised" ] && ! git log -1 --format=%B "$last" | grep -q '^Baseline: .'; then
    die "commit ${last:0:7} raises the baseline of $raised and has no line \"Baseline: the cause\""
  fi
fi
cargo bench --locked --quiet --bench engine -- gate "$@"
