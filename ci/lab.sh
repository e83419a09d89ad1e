#!/bin/bash
# lab.sh: labelled recordings, made unattended: LAB_RECORDINGS of LAB_SECONDS each from LAB_SEED on, into LAB_OUT.
#
#   LAB_OUT         where to (target/lab/recordings); a directory for each seed, what is there is kept
#   LAB_RECORDINGS  how many (36); every fourth is benign only
#   LAB_SECONDS     how long each records (120); making its hosts and writing it down takes some 40 s more
#   LAB_SEED        the first seed (1)
#   LAB_AT_ONCE     recordings at once (1): each wants a core and 1 GiB
#   LAB_CLIENTS     instead: one recording of so many honest hosts (740) and no attacker, LAB_SECONDS (3900) in real time, each doing
#                   something every LAB_THINK seconds on average (100), into LAB_OUT (target/lab/honest); half a core, 4 GiB
#   LAB_CHECK=1     instead: start every habit and every attack of the registry once and say which made no flow
#   LAB_DAYS        if set, also days of warped time from these recordings (warp.py), LAB_FLOWS flows each (100000)
. "$(dirname "$0")/lib.sh"
ci/install-packages.sh lab
[ "$(id -u)" = 0 ] || die "a recording needs root (namespaces, raw sockets): sudo make lab"

venv=target/lab/venv
stamp=$venv/requirements.sha256
wanted=$(sha256sum < models/lab/requirements.txt)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  say "setting up $venv"
  rm -rf "$venv"
  /usr/bin/python3 -m venv --system-site-packages "$venv"
  "$venv/bin/pip" --quiet --disable-pip-version-check --no-input install --no-deps --only-binary :all: --require-hashes \
    -r models/lab/requirements.txt
  echo "$wanted" > "$stamp"
fi
python=$venv/bin/python
out=${LAB_OUT:-target/lab/recordings}
seed=${LAB_SEED:-1}

if [ -n "${LAB_CHECK:-}" ]; then
  exec "$python" models/lab/check.py --seed "$seed" --out "${LAB_OUT:-target/lab/check}"
fi
if [ -n "${LAB_CLIENTS:-}" ]; then
  exec "$python" models/lab/record.py --seed "$seed" --seconds "${LAB_SECONDS:-3900}" --benign-only --clients "$LAB_CLIENTS" \
    --think "${LAB_THINK:-100}" --out "$(printf %s/%03d "${LAB_OUT:-target/lab/honest}" "$seed")"
fi
mkdir -p "$out"
export LAB_PYTHON=$python LAB_INTO=$out LAB_LENGTH=${LAB_SECONDS:-120}
seq "$seed" $((seed + ${LAB_RECORDINGS:-36} - 1)) | xargs -P "${LAB_AT_ONCE:-1}" -I{} bash -c '
  benign=
  [ $(({} % 4)) -ne 0 ] || benign=--benign-only
  "$LAB_PYTHON" models/lab/record.py --seed {} --seconds "$LAB_LENGTH" --out "$(printf %s/%03d "$LAB_INTO" {})" $benign ||
    echo "seed {}: not recorded; run again to try it again" >&2'
"$python" models/lab/check.py --table "$out"
if [ -n "${LAB_DAYS:-}" ]; then
  "$python" models/lab/warp.py "$out" --out "$out/warped" --seed "$seed" --days "$LAB_DAYS" --flows-per-day "${LAB_FLOWS:-100000}"
fi
