#!/bin/sh
# Makes every recording: record_all.sh DIRECTORY [RECORDINGS] [SECONDS] [AT_ONCE]
#
# Recording N has seed N; every fourth is benign only. What is there already is kept, so an interrupted run goes on.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
directory=$1
count=${2:-36}
seconds=${3:-150}
at_once=${4:-3}
mkdir -p "$directory"
seq 1 "$count" | xargs -P "$at_once" -I{} sh -c '
    benign=
    [ $(({} % 4)) -ne 0 ] || benign=--benign-only
    name=$(printf "%s/%02d" "$2" {})
    python3 "$1/record.py" --seed {} --seconds "$3" --out "$name" $benign && echo "recorded $name" >&2
' sh "$here" "$directory" "$seconds"
