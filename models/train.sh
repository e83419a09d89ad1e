#!/bin/sh
# Makes the models from nothing: models/train.sh [RECORDINGS...]   (default target/lab/recordings; `sudo make lab` records them)
#
# Rows, days, models, folds, yardstick, captures of others, from source to source, cards. Every stage is kept in target/train by the hash of its inputs and an
# interrupted training goes on from its last epoch, so it may be stopped and run again. On two busy cores 40 recordings of two
# minutes took half an hour, most of it the reference's rows; SHRIKE=target/release/shrike lets the sensor compute them.
set -eu
cd "$(dirname "$0")/.."
work=${TRAIN_WORK:-target/train}
python=models/venv/bin/python
[ $# -gt 0 ] || set -- target/lab/recordings

ci/python.sh
"$python" -c 'import numpy, onnx, onnxruntime, sklearn' || { echo "train.sh: models/venv cannot be made: Python 3.11 is needed" >&2; exit 1; }
"$python" models/logs.py --schema models/log-v1.schema.json
others=../shared/data/benign
[ -d "$others" ] || others=
"$python" models/train.py "$@" --work "$work" ${others:+--others "$others"} ${SHRIKE:+--tool "$SHRIKE"}
"$python" models/yardstick.py "$@" --work "$work" ${others:+--others "$others"} ${SHRIKE:+--tool "$SHRIKE"}
if [ -d ../shared/data ]; then
    "$python" models/evaluate.py models/flow-v2.json ../shared/data --work "$work" ${SHRIKE:+--tool "$SHRIKE"}
    tool=${SHRIKE:-target/release/shrike}
    if [ -x "$tool" ]; then
        "$python" models/transfer.py "$@" --data ../shared/data --work "$work" --tool "$tool"
    else
        echo "train.sh: no $tool, which reads the labels of captures of others: from source to source is left out" >&2
    fi
fi
"$python" models/card.py --work "$work"
