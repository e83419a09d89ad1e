#!/bin/sh
# Makes models/flow-v1 from nothing: models/train.sh [RECORDINGS] [SECONDS]   (default 97 recordings of 100 s)
#
# Records (needs root and the packages of models/lab/packages.txt; skipped for recordings that are there already), makes
# the feature rows with the worker's own code, trains, judges on ../shared/data where that is, and writes the model, its
# manifest and the figures of the model card. Recordings take their number times their length over three; what follows
# them took 25 minutes on a machine of two busy cores.
set -eu
cd "$(dirname "$0")/.."
recordings=models/lab/recordings
python=models/venv/bin/python

if ! [ -x "$python" ]; then
    python3 -m venv models/venv
    "$python" -m pip install -q --disable-pip-version-check --no-deps -r models/requirements.txt
fi
LAB_OUT=$recordings LAB_RECORDINGS=${1:-97} LAB_SECONDS=${2:-100} LAB_AT_ONCE=3 ci/lab.sh
cargo build --locked --release --quiet --example feature-rows
tool=${CARGO_TARGET_DIR:-target}/release/examples/feature-rows
rm -f "$recordings"/*/rows*.csv
"$python" models/train.py "$recordings" --tool "$tool" --out models/flow-v1 --leave-one-out
if [ -d ../shared/data ]; then
    "$python" models/evaluate.py models/flow-v1.json ../shared/data --tool "$tool" --json models/flow-v1.captures.json
fi
"$python" models/card.py models/flow-v1 "$recordings/validation-scores.npz"
