#!/bin/bash
# The tests' Python tools (readers that are not ours: JSON schema, HdrHistogram logs) in .venv, every file pinned by hash.
. "$(dirname "$0")/lib.sh"
python=/usr/bin/python3
[ -x "$python" ] || python=$(command -v python3) || die "no python3; run ci/install-packages.sh test"
stamp=.venv/requirements.sha256
wanted=$(sha256sum < ci/requirements.txt)
[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0
say "setting up .venv"
rm -rf .venv
"$python" -m venv .venv
.venv/bin/pip --quiet --disable-pip-version-check --no-input install --no-deps --only-binary :all: --require-hashes \
  -r ci/requirements.txt
echo "$wanted" > "$stamp"
