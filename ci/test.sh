#!/bin/bash
# test.sh [FILTER...]: every test there is: unit, property, golden, privileged (as root) and the zero-copy guest.
#
# Nothing is skipped silently: what cannot run here appends a line to the skip log, which is shown at the end, and where
# the means are there (../shared/data, root) their tests are required to run: SHRIKE_REQUIRE makes a skip a failure.
. "$(dirname "$0")/lib.sh"

require=${SHRIKE_REQUIRE:-}
[ -e ../shared/data/MANIFEST.tsv ] && require="$require,shared"
# CAP_NET_ADMIN (12) and CAP_SYS_ADMIN (21): root in a bare container has neither and can make no namespace.
caps=$((16#$(awk '/^CapEff/ { print $2 }' /proc/self/status)))
[ $((caps >> 12 & 1)) = 1 ] && [ $((caps >> 21 & 1)) = 1 ] && require="$require,root"
# CI has installed them just before.
[ "${CI:-}" != true ] || require="$require,tshark,python3"
export SHRIKE_REQUIRE=${require#,}
out=$ROOT/target/test
mkdir -p "$out"
export SHRIKE_SKIP_LOG=$out/skipped.txt
: > "$SHRIKE_SKIP_LOG"
[ ! -x .venv/bin/python ] || export SHRIKE_PYTHON=$ROOT/.venv/bin/python

# The guest, the demo's test and the live tests run what is shipped: the release build.
say "building"
cargo build --locked --release --quiet --bin shrike
export SHRIKE_RELEASE=${CARGO_TARGET_DIR:-$ROOT/target}/release/shrike
cargo test --locked --no-run --quiet

say "testing (required: ${SHRIKE_REQUIRE:-nothing beyond what this machine has})"
log=$out/run.txt
set +e
if cargo nextest --version >/dev/null 2>&1; then
  cargo nextest run --locked --color never "$@" 2>&1 | tee "$log"
  rc=${PIPESTATUS[0]}
  cargo test --locked --doc --quiet -- "$@" > "$out/doc.txt" 2>&1; doc_rc=$?
  [ $doc_rc = 0 ] || cat "$out/doc.txt"
  summary=$(grep -E '^ *Summary ' "$log" | tail -1)
  count() { printf '%s\n' "$summary" | grep -oE "[0-9]+ $1" | grep -oE '^[0-9]+' || echo 0; }
  passed=$(count passed); failed=$(($(count failed) + $(count 'timed out') + $(count 'exec failed')))
  skipped=$(count skipped)
else
  cargo test --locked --no-fail-fast -- "$@" --skip live_ 2>&1 | tee "$log"
  rc=${PIPESTATUS[0]}
  # As the runner's `live` group in .config/nextest.toml: one at a time, they measure and share the machine.
  cargo test --locked --no-fail-fast --tests -- live_ --test-threads 1 2>&1 | tee "$out/doc.txt"
  doc_rc=${PIPESTATUS[0]}
  passed=0; failed=0; skipped=0
fi
add() { awk -v w="$1" '/^test result:/ { for (i = 2; i <= NF; i++) if ($i ~ "^" w) n += $(i - 1) } END { print n + 0 }' "$2"; }
for text in "$log" "$out/doc.txt"; do
  passed=$((passed + $(add passed "$text"))); failed=$((failed + $(add failed "$text")))
  skipped=$((skipped + $(add ignored "$text")))
done
set -e

aloud=$(sort -u "$SHRIKE_SKIP_LOG" | wc -l)
if [ "$aloud" -gt 0 ]; then
  say "could not run here:"
  sort -u "$SHRIKE_SKIP_LOG" | sed 's/^/    /'
fi
# A test that skipped aloud returned early and was counted by the runner as passed; it is not.
passed=$((passed - aloud)); skipped=$((skipped + aloud))
# A run that ended without a word (a build that broke, a runner that was killed) has failed, whatever it printed.
if [ "$rc" != 0 ] || [ "$doc_rc" != 0 ]; then [ "$failed" -gt 0 ] || failed=1; fi
echo "$passed passed, $failed failed, $skipped skipped" | tee "$out/summary.txt"
[ "$failed" = 0 ]
