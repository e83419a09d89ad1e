#!/bin/bash
# The tests' Python tools, every file pinned by hash: readers that are not ours (JSON schema, HdrHistogram logs) in .venv, and what
# training needs in models/venv. The latter's wheels are those of Python 3.11; with another one the tests of training skip aloud.
. "$(dirname "$0")/lib.sh"
python=/usr/bin/python3
[ -x "$python" ] || python=$(command -v python3) || die "no python3; run ci/install-packages.sh test"

environment() { # folder, requirements
  local stamp=$1/requirements.sha256 wanted
  wanted=$(sha256sum < "$2")
  [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
  say "setting up $1"
  rm -rf "$1"
  "$python" -m venv "$1" &&
    "$1/bin/pip" --quiet --disable-pip-version-check --no-input install --no-deps --only-binary :all: --require-hashes -r "$2" &&
    echo "$wanted" > "$stamp"
}

environment .venv ci/requirements.txt
environment models/venv models/requirements.txt || say "models/venv cannot be made: training's tests are left out"
