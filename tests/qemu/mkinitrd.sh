#!/bin/bash
# mkinitrd.sh DIR OVERLAY OUT: the guest's root file system as OUT, from what fetch.sh put into DIR (busybox, ethtool, the
# NIC's driver) and OVERLAY, whose files go to the same paths in the guest. Every program and shared object of OVERLAY
# comes with the libraries that `ldd` names, at the paths where the loader looks for them: the guest runs the binary that
# is shipped, not a static one made for the occasion.
set -euo pipefail
W=$(realpath "$1"); OVERLAY=$(realpath "$2"); OUT=$(realpath -m "$3")
R=$(mktemp -d "${TMPDIR:-/tmp}/shrike-initrd-XXXXXX")
trap 'rm -rf "$R"' EXIT
mkdir -p "$R"/{bin,lib,usr,models,mod,proc,sys,dev,tmp,run,var/lib}

busybox=$(find "$W/q" -path '*/bin/busybox' -type f | sed -n 1p)
cp "$busybox" "$R/bin/busybox"
for applet in sh mount ip sed sleep insmod poweroff cat grep dmesg kill wget tr cut ls; do ln -s busybox "$R/bin/$applet"; done
cp "$W"/mod/*.ko "$R/mod/"
cp -aL "$OVERLAY/." "$R/"
cp "$(find "$W/q" -path '*/sbin/ethtool' -type f | sed -n 1p)" "$R/bin/ethtool"
install -m 755 "$(dirname "$0")/init" "$R/init"

export LD_LIBRARY_PATH=$W/q/usr/lib/x86_64-linux-gnu:$W/q/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
find "$R/bin" "$R/lib" "$R/usr" "$R/models" -type f \( -perm -u+x -o -name '*.so*' \) ! -name busybox |
  while read -r program; do ldd "$program" 2>/dev/null || :; done |
  awk '/not found/ { print "mkinitrd.sh: " $0 > "/dev/stderr"; bad = 1 }
       /=> \// { print $1, $3 } /^[ \t]*\// { print $1, $1 } END { exit bad }' | sort -u |
  while read -r name library; do
    # A library that was unpacked beside QEMU goes where the guest's loader looks.
    case $name in /*) to=$R$name ;; *) to=$R/lib/x86_64-linux-gnu/$name ;; esac
    [ -e "$to" ] || install -D -m 755 "$(realpath "$library")" "$to"
  done
# Debug information is of no use in the guest, and its memory holds the whole file system.
find "$R" -type f \( -perm -u+x -o -name '*.so*' \) -size +1M -exec strip --strip-debug {} + 2>/dev/null || :
cpio=$(find "$W/q" -path '*/bin/cpio' -type f | sed -n 1p)
( cd "$R" && find . | "$cpio" -o -H newc -R 0:0 --quiet | gzip -1 ) > "$OUT"
