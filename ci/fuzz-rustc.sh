#!/bin/bash
# RUSTC_WRAPPER of ci/fuzz.sh: coverage instrumentation for our own code and nothing else, so that the edges counted are
# ours and dependencies are built once. The flags are those of cargo-fuzz; none of them needs a nightly compiler.
rustc=$1
shift
case " $* " in
  *" --crate-name shrike "* | *" --crate-name shrike_fuzz "*)
    exec "$rustc" "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
      -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
      -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
esac
exec "$rustc" "$@"
