#!/bin/bash
# evaluate.sh: what detection is worth on attacks that the models never saw; writes target/evaluate/summary.json.
#
#   LAB_OUT         where the recordings are (target/lab/recordings); without any they are made, which needs root
#   TRAIN_WORK      where the trainer leaves its folds (target/train)
#   EVALUATE_TRAIN  0: do not train where there are no folds, take the model that is shipped
#   SHRIKE          the program (target/release/shrike, built if it is not there)
#   EVALUATE_HOURS  days of warped time with attacks that take hours (2); 0: none
#   HONEST_OUT      recordings of honest hosts for an hour, `LAB_CLIENTS=740 make lab` (target/lab/honest); none: left out
#   EVALUATE_README 1: write docs/evaluation.json, docs/evaluation.svg and the README's table too
#   EVALUATE_NEW    recordings that nobody wrote rules with (target/lab/new), of seeds 200 to 223:
#                   sudo make lab LAB_SEED=200 LAB_RECORDINGS=24 LAB_OUT=target/lab/new
#
# Runs, each left in target/evaluate as JSON: detectors (no model), hours (no model; attacks that take hours, in five warped days
# each of which three are honest: two minutes show nothing of a beacon), fold-K (a model and the tools that it never saw; false
# alerts of the recordings that it never saw), days-K (warped days of those), without-FAMILY (a model that never saw any of it:
# what catches it all the same), others (the captures of ../shared/data, each judged as a whole), new and new-detectors (recordings
# nobody wrote rules with, by the model that is shipped and by none; names and tables come at the end), transfer (as the trainer left
# it: each source taught by all others, the laboratory by captures of others and the other way round), honest-* (hours of hundreds
# of honest hosts in real time, which nothing is trained on: by the detectors, by the shipped model, by each fold's).
. "$(dirname "$0")/lib.sh"
recordings=${LAB_OUT:-target/lab/recordings}
train=${TRAIN_WORK:-target/train}
honest=${HONEST_OUT:-target/lab/honest}
out=target/evaluate
mkdir -p "$out"
rm -f "$out"/*.json

if ! compgen -G "$recordings/*/labels.json" >/dev/null; then
  [ "$(id -u)" = 0 ] || die "no recordings in $recordings: sudo make lab makes some (an hour and a half), LAB_OUT names others"
  say "no recordings in $recordings: making some"
  ci/lab.sh
fi
shrike=${SHRIKE:-${CARGO_TARGET_DIR:-target}/release/shrike}
[ -x "$shrike" ] || cargo build --locked --release --bin shrike
ci/get-onnxruntime.sh >/dev/null

if ! compgen -G "$train/folds/*/held*out.json" >/dev/null; then
  if [ "${EVALUATE_TRAIN:-1}" != 0 ] && grep -q folds models/train.sh models/train.py; then
    say "no folds in $train: training"
    models/train.sh "$recordings" || say "training failed; going on without folds"
  fi
fi

# One model's file by its schema, of those in a directory; the first of several.
model_in() {
  python3 - "$1" <<'PYTHON'
import glob, json, sys
for path in sorted(glob.glob(sys.argv[1] + "/*.json")):
    with open(path) as text:
        manifest = json.load(text)
    if isinstance(manifest, dict) and "golden" in manifest and manifest.get("schema", "flow") == "flow":
        print(path)
        break
PYTHON
}

evaluate() {
  local name=$1
  shift
  say "$name"
  "$shrike" evaluate "$@" --out "$out/$name.json" > "$out/$name.txt"
}

evaluate detectors "$recordings" --no-model --picture "$out/detectors.svg"

long=()
for number in $(seq "${EVALUATE_HOURS:-2}"); do
  # Of each family 18 a time, tools in turn; cut frames keep names and handshakes.
  nice python3 models/lab/warp.py "$recordings" --out "target/hours/$number" --seed "$((10 + number))" --days 5 --quiet-days 3 --hosts 40 \
    --flows-per-day 12000 --attacks-per-day 0 --cycles 0 --long 18 --snap 700 --per-family 400 2>/dev/null
  long+=("target/hours/$number")
done
if [ ${#long[@]} -gt 0 ]; then
  evaluate hours "${long[@]}" --no-model
  python3 ci/evaluate.py hours "$out"
fi

hour=()
if compgen -G "$honest/*/labels.json" >/dev/null; then
  evaluate honest-detectors "$honest" --no-model
  evaluate honest-shipped "$honest" || say "the shipped model cannot be used on $honest: left out"
fi

folds=()
days=()
for folder in "$train"/folds/*/; do
  model=$(model_in "$folder")
  held=$(compgen -G "${folder}held*out.json" | head -1) || continue
  [ -n "$model" ] || continue
  number=$(basename "$folder")
  python3 ci/evaluate.py scope "$recordings" "$held" > "$out/fold-$number.scope"
  if evaluate "fold-$number" "$recordings" --model "$model" --held-out "$out/fold-$number.scope"; then
    folds+=("$out/fold-$number.json")
  else
    say "the model of fold $number cannot be used: left out"
    continue
  fi
  if [ -e "$out/honest-detectors.json" ]; then
    evaluate "honest-fold-$number" "$honest" --model "$model" && hour+=("$out/honest-fold-$number.json")
  fi
  # Warped days of recordings that no model is trained on: for their false alerts alone.
  [ -e "$train/days/test/labels.json" ] || continue
  echo '{"tools": [], "recordings": ["test"]}' > "$out/days.scope"
  evaluate "days-$number" "$train/days/test" --model "$model" --held-out "$out/days.scope" && days+=("$out/days-$number.json")
done
[ ${#hour[@]} -eq 0 ] || "$shrike" evaluate --merge "${hour[@]}" --out "$out/honest-folds.json" > "$out/honest-folds.txt"
if [ ${#folds[@]} -gt 0 ]; then
  held=folds
  "$shrike" evaluate --merge "${folds[@]}" --out "$out/main.json" > "$out/main.txt"
  "$shrike" evaluate --merge "${folds[@]}" "${days[@]}" --out "$out/with-days.json" --picture "$out/recall.svg" \
    > "$out/with-days.txt"
else
  held=nothing
  say "no folds in $train: the model that is shipped, which may know these tools: its figures are no held-out ones"
  evaluate main "$recordings" --picture "$out/recall.svg" || {
    held=detectors
    say "the model cannot be used: detectors alone"
    cp "$out/detectors.json" "$out/main.json"; cp "$out/detectors.txt" "$out/main.txt"; cp "$out/detectors.svg" "$out/recall.svg"
  }
  cp "$out/main.json" "$out/with-days.json"
fi

for folder in "$train"/without/*/; do
  model=$(model_in "$folder")
  [ -n "$model" ] || continue
  family=$(basename "$folder")
  python3 ci/evaluate.py family "$recordings" "$family" > "$out/without-$family.scope"
  mapfile -t with < <(python3 ci/evaluate.py recordings "$recordings" "$family")
  [ ${#with[@]} -gt 0 ] || continue
  evaluate "without-$family" "${with[@]}" --model "$model" --held-out "$out/without-$family.scope" ||
    say "the model without $family cannot be used: left out"
done

if [ -e ../shared/data/MANIFEST.tsv ]; then
  evaluate others ../shared/data --labels ../shared/data/MANIFEST.tsv ||
    evaluate others ../shared/data --labels ../shared/data/MANIFEST.tsv --no-model
fi

new=${EVALUATE_NEW:-target/lab/new}
if compgen -G "$new/*/labels.json" >/dev/null; then
  evaluate new "$new" || evaluate new "$new" --no-model
  evaluate new-detectors "$new" --no-model
  python3 ci/evaluate_new.py "$out" "$new" | tee "$out/new-tables.txt"
else
  say "no recordings that nobody wrote rules with in $new: sudo make lab LAB_SEED=200 LAB_RECORDINGS=24 LAB_OUT=$new"
fi

[ ! -e "$train/flow-v2.transfer.json" ] || cp "$train/flow-v2.transfer.json" "$out/transfer.json"
python3 ci/evaluate.py summary "$out" "$held"
cat "$out/main.txt"
python3 ci/evaluate.py honest "$out"
say "$out/summary.json"
[ "${EVALUATE_README:-0}" != 1 ] || python3 ci/evaluate.py readme "$out"
