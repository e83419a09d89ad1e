#!/bin/sh
# Fetches the pinned ONNX Runtime library: ci/get-onnxruntime.sh [DESTINATION]   (default: models/runtime)
#
# One fixed wheel, of which one file is kept; both are checked against fixed hashes, so the outcome does not depend on
# the local Python's version or on what an index serves today. Needs python3 with pip, x86-64 and glibc >= 2.28. Run
# again it only verifies. The program checks the same hash before it opens the library: a truncated one would kill the
# process with SIGBUS.
set -eu
version=1.31.1
wheel_sha256=5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f
library_sha256=fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3

here=$(cd "$(dirname "$0")/.." && pwd)
destination=${1:-$here/models/runtime}
library=$destination/libonnxruntime.so.$version

verify() {
    echo "$2  $1" | sha256sum -c --quiet >/dev/null 2>&1
}

if [ -f "$library" ] && verify "$library" "$library_sha256"; then
    echo "$library"
    exit 0
fi
if [ "$(uname -m)" != x86_64 ]; then
    echo "get-onnxruntime: this pins the x86-64 library and the machine is $(uname -m)" >&2
    exit 1
fi

mkdir -p "$destination"
work=$(mktemp -d)
trap 'rm -rf "$work" "$library.part"' EXIT INT TERM
python3 -m pip download -q --disable-pip-version-check "onnxruntime==$version" --no-deps --only-binary=:all: \
    --platform manylinux_2_28_x86_64 --python-version 3.11 --implementation cp --abi cp311 -d "$work" >&2
set -- "$work"/*.whl
if ! verify "$1" "$wheel_sha256"; then
    echo "get-onnxruntime: $(basename "$1") has not the pinned sha256 $wheel_sha256; nothing was installed" >&2
    exit 1
fi
python3 -c '
import sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, open(sys.argv[3], "wb") as out:
    out.write(wheel.read("onnxruntime/capi/libonnxruntime.so." + sys.argv[2]))
' "$1" "$version" "$library.part"
if ! verify "$library.part" "$library_sha256"; then
    echo "get-onnxruntime: the library in the wheel has not the pinned sha256 $library_sha256" >&2
    exit 1
fi
mv "$library.part" "$library"
echo "$library"
