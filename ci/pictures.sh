#!/bin/bash
# pictures.sh: the README's pictures, made anew from a live demo: docs/live-page.png, docs/live-page-phone.png and
# docs/demo.png. Needs root (the demo's lab), chromium and script; the release binary is built if it is not there.
. "$(dirname "$0")/lib.sh"
ci/install-packages.sh demo
command -v chromium >/dev/null || die "no chromium: ci/install-packages.sh test"
binary=${CARGO_TARGET_DIR:-target}/release/shrike
[ -x "$binary" ] || cargo build --locked --release --bin shrike
out=${1:-docs}
mkdir -p "$out"
work=$(mktemp -d)
demo=
trap '[ -z "$demo" ] || kill "$demo" || true; rm -rf "$work"' EXIT
recording=$work/demo.typescript

say "running the demo for a minute"
# A terminal of its own, so that the panel is drawn as people see it; `exec`, so that a signal reaches the demo.
script -q -f -c "stty cols 124 rows 48; exec '$binary' demo --seconds ${DEMO_SECONDS:-60} --summary '$work/summary.json'" \
  "$recording" >/dev/null 2>&1 &
demo=$!
page=
for _ in $(seq 300); do
  page=$(grep -aom1 'http://127\.0\.0\.1:[0-9]*/' "$recording" 2>/dev/null) && break
  kill -0 $demo 2>/dev/null || die "the demo ended early: $(tail -c 400 "$recording")"
  sleep 0.2
done
[ -n "$page" ] || die "the demo names no live page"

# The picture is taken when every kind of attack has its alert and there is a history to see.
seen="['scan', 'brute force', 'flood'].every((name) => [...document.querySelectorAll('#alert-list .kind b')].some((kind) => kind.textContent === name))"
drawn="document.querySelector('#traffic svg path')?.getBoundingClientRect().width > 150"
python3 ci/pictures.py page "$page" "$out/live-page.png" --height 1180 --until "$seen && $drawn"
python3 ci/pictures.py page "$page" "$out/live-page-phone.png" --width 390 --height 844 --scheme light \
  --until "$seen" --after "new Promise((done) => setTimeout(done, 4000))"
wait $demo || die "the demo did not pass: $(tail -c 600 "$recording")"
demo=
python3 ci/pictures.py terminal "$recording" "$out/demo.png" --rows 45 --columns 124
for picture in "$out"/*.png; do
  size=$(stat -c %s "$picture")
  say "$picture: $size bytes"
  [ "$size" -lt 300000 ] || die "$picture has $size bytes; at most 300000 are wanted"
done
