#!/bin/sh
# Makes the models from nothing: models/train.sh [RECORDINGS...]   (default target/lab/recordings; `sudo make lab` records them)
#
# Rows, days, models, folds, yardstick, captures of others, cards. Every stage is kept in target/train by the hash of its inputs and an
# interrupted training goes on from its last epoch, so it may be stopped and run again. On two busy cores 40 recordings of two
# minutes took half an hour, most of it the reference's rows; SHRIKE=target/release/shrike lets the sensor compute them.
set -eu
cd "$(dirname "$0")/.."
work=${TRAIN_WORK:-target/train}
python=models/venv/bin/python
[ $# -gt 0 ] || set -- target/lab/recordings

wanted=$(sha256sum < models/requirements.txt)
if [ "$(cat models/venv/requirements.sha256 2>/dev/null)" != "$wanted" ]; then
    rm -rf models/venv
    python3 -m venv models/venv
    "$python" -m pip install -q --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r models/requirements.txt
    echo "$wanted" > models/venv/requirements.sha256
fi
"$python" models/logs.py --schema models/log-v1.schema.json
others=../shared/data/benign
[ -d "$others" ] || others=
"$python" models/train.py "$@" --work "$work" ${others:+--others "$others"} ${SHRIKE:+--tool "$SHRIKE"}
"$python" models/yardstick.py "$@" --work "$work" ${others:+--others "$others"} ${SHRIKE:+--tool "$SHRIKE"}
if [ -d ../shared/data ]; then
    "$python" models/evaluate.py models/flow-v2.json ../shared/data --work "$work" ${SHRIKE:+--tool "$SHRIKE"}
fi
"$python" models/card.py --work "$work"
