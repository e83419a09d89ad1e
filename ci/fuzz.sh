#!/bin/bash
# fuzz.sh [TARGET [SECONDS]]: fuzzes one target, or all of them, SECONDS each (FUZZ_SECONDS, 60).
# fuzz.sh minimise TARGET: replaces the committed corpus by the fewest small inputs that reach the same code.
#
# Works on a corpus of its own under target/fuzz, begun from the committed one. Each run adds a line to fuzz/LOG.tsv:
# date, commit (with + where the tree differed from it), target, executions, edges reached, seconds of CPU, findings. A
# program built before (SHRIKE_FUZZ_PROGRAM) is of the commit that SHRIKE_FUZZ_COMMIT names, else of an unknown one (-).
# A finding is kept as fuzz/findings/TARGET-*: fix it,
# then move it to fuzz/corpus/TARGET, where every test run replays it.
. "$(dirname "$0")/lib.sh"

targets() { grep -oE '\("[a-z_]+", [a-z_]+\)' src/fuzzing.rs | cut -d'"' -f2; }

export CARGO_TARGET_DIR=$ROOT/target/fuzz RUSTC_WRAPPER=$ROOT/ci/fuzz-rustc.sh
build() {
  # A program built before: so that hours of fuzzing do not follow the tree that is being worked on.
  program=${SHRIKE_FUZZ_PROGRAM:-} commit=${SHRIKE_FUZZ_COMMIT:--}
  [ -z "$program" ] || return 0
  commit=$(git rev-parse --short=8 HEAD)
  git diff --quiet HEAD -- src fuzz/Cargo.toml fuzz/Cargo.lock Cargo.toml Cargo.lock || commit=$commit+
  cargo build --quiet --manifest-path fuzz/Cargo.toml
  program=$CARGO_TARGET_DIR/debug/shrike_fuzz
}

# Inputs are short: what a length field can promise is reached by few bytes, and short inputs are run faster.
longest() {
  case $1 in
    manifest | config) echo 8192 ;;
    pcap | inspect | names | tls | quic | http | windows | mail | industry | stores | peers) echo 4096 ;;
    cursor) echo 128 ;;
    *) echo 1024 ;;
  esac
}

run() { # target, seconds
  local corpus=$CARGO_TARGET_DIR/corpus/$1 log=$CARGO_TARGET_DIR/$1.log findings stopped=
  local executions=0 edges=0 centis=0 took more
  mkdir -p "$corpus" fuzz/findings
  # libFuzzer counts the seconds of a clock; on a busy machine those are fewer seconds of CPU, so it goes on until there
  # were enough of them.
  while [ -z "$stopped" ] && [ $((centis / 100)) -lt "$2" ]; do
    took=$({ TIMEFORMAT='%U %S'; time SHRIKE_FUZZ_TARGET=$1 nice -n "${FUZZ_NICE:-19}" "$program" "$corpus" "fuzz/corpus/$1" \
      -max_total_time=$(($2 - centis / 100)) -max_len="$(longest "$1")" -timeout=60 -rss_limit_mb=2048 \
      -print_final_stats=1 -artifact_prefix="fuzz/findings/$1-" >"$log" 2>&1; } 2>&1) || stopped=yes
    centis=$((centis + $(awk '{ printf "%d", ($1 + $2) * 100 }' <<<"$took")))
    more=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
    executions=$((executions + ${more:-0}))
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
  done
  # Stopped is not found: an interrupted run ends with an error too, and leaves nothing behind.
  # Another target's run may have taken the empty folder away.
  findings=$(find fuzz/findings -name "$1-*" 2>/dev/null | wc -l) || findings=0
  [ -f fuzz/LOG.tsv ] || printf 'date\tcommit\ttarget\texecutions\tedges\tcpu_seconds\tfindings\n' >fuzz/LOG.tsv
  printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$(date -u +%F)" "$commit" "$1" "$executions" "${edges:-0}" $((centis / 100)) "$findings" \
    | tee -a fuzz/LOG.tsv
  rmdir fuzz/findings 2>/dev/null || true
  [ "$findings" = 0 ] || { tail -30 "$log" >&2; die "$1: found something, see fuzz/findings"; }
}

# The smallest inputs that reach each edge, at most 48 of at most 4 KiB.
minimise() { # target
  local into=$CARGO_TARGET_DIR/minimal/$1
  rm -rf "$into" && mkdir -p "$into" "$CARGO_TARGET_DIR/corpus/$1"
  SHRIKE_FUZZ_TARGET=$1 "$program" -merge=1 -set_cover_merge=1 -max_len="$(longest "$1")" "$into" "fuzz/corpus/$1" \
    "$CARGO_TARGET_DIR/corpus/$1" >"$CARGO_TARGET_DIR/$1.merge.log" 2>&1
  # Seeds written by hand have names that say what they are; found ones are named by their hash.
  find "fuzz/corpus/$1" -type f -regextype posix-extended -regex '.*/[0-9a-f]{40}' -delete
  find "$into" -type f -size -5k -printf '%s %p\n' | sort -n | head -48 | cut -d' ' -f2- \
    | xargs -r cp -t "fuzz/corpus/$1"
  say "$1: $(find "fuzz/corpus/$1" -type f | wc -l) files, $(du -sb "fuzz/corpus/$1" | cut -f1) bytes"
}

build
case ${1-} in
  '') for target in $(targets); do run "$target" "${FUZZ_SECONDS:-60}"; done ;;
  minimise) minimise "$2" ;;
  *) run "$1" "${2:-${FUZZ_SECONDS:-60}}" ;;
esac
