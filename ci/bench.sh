#!/bin/bash
# bench.sh [CASE...]: the engine's table, into target/bench/engine.json; instructions of decode alone before it.
. "$(dirname "$0")/lib.sh"
command -v valgrind >/dev/null || die "valgrind is needed to count instructions: ci/install-packages.sh test"

cargo bench --locked --quiet --bench decode --no-run
decode=$(find target/release/deps -maxdepth 1 -name 'decode-*' -type f -executable -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2)
count() { # case, frames
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$decode" "$1" "$2" 2>&1 >/dev/null | sed -n 's/.*Collected : //p'
}
if [ $# = 0 ]; then
  mkdir -p target/bench
  for case in tcp4 udp4 vlan_tcp4 tcp6 icmp4 first_fragment; do
    awk -v case="$case" -v a="$(count "$case" 32000)" -v b="$(count "$case" 64000)" \
      'BEGIN { printf "decode %-16s %7.1f instructions a frame, the loop of the bench included\n", case, (b - a) / 32000 }'
  done
fi
cargo bench --locked --quiet --bench engine -- "$@"
