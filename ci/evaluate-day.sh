#!/bin/bash
# evaluate-day.sh: a day of a million flows that grows by 2 % an hour, swings by five, and is attacked in its quietest hour; with the
# working days before it that baselines need. Writes target/evaluate/day.json and day.svg.
#
#   LAB_OUT        where the recordings are (target/lab/recordings)
#   DAY_OUT        where the days are made (target/evaluate/days; 2.6 GB, taken away afterwards unless DAY_KEEP=1)
#   DAY_FLOWS      honest flows a day (1000000), DAY_HOSTS hosts (400), DAY_BEFORE days before it (3), DAY_SEED (4)
#   DAY_MODEL      1: with the model that is shipped, which may know the tools; else detectors alone
#   SHRIKE         the program (target/release/shrike, built if it is not there)
#   EVALUATE_README 1: write docs/day.json and docs/day.svg too
. "$(dirname "$0")/lib.sh"
recordings=${LAB_OUT:-target/lab/recordings}
days=${DAY_OUT:-target/evaluate/days}
out=target/evaluate
before=${DAY_BEFORE:-3}
mkdir -p "$out"
compgen -G "$recordings/*/labels.json" >/dev/null || die "no recordings in $recordings: sudo make lab makes some, LAB_OUT names others"
shrike=${SHRIKE:-${CARGO_TARGET_DIR:-target}/release/shrike}
[ -x "$shrike" ] || cargo build --locked --release --bin shrike

python3 models/lab/warp.py "$recordings" --out "$days" --seed "${DAY_SEED:-4}" --days $((before + 1)) \
  --flows-per-day "${DAY_FLOWS:-1000000}" --hosts "${DAY_HOSTS:-400}" --max-packets 10 --snap 96 \
  --ramp 0.02 --ramp-from "$before" --attack-at scan@03:30
model=(--no-model)
[ "${DAY_MODEL:-0}" != 1 ] || model=()
say "evaluating"
python3 ci/day.py measured "$out/day-cost.json" \
  "$shrike" evaluate "$days" "${model[@]}" --out "$out/day-evaluation.json" > "$out/day.txt"
python3 ci/day.py summary "$days" "$out"
[ "${EVALUATE_README:-0}" != 1 ] || cp "$out/day.json" "$out/day.svg" docs/
[ "${DAY_KEEP:-0}" = 1 ] || rm -rf "$days"
