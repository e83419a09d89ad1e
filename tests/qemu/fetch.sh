#!/bin/bash
# fetch.sh DIR: what the zero-copy test boots, unpacked into DIR and never installed: QEMU 10 (bookworm-backports) with
# the libraries it lacks, busybox, cpio and ethtool, and a kernel whose igb driver binds AF_XDP in zero-copy mode.
#
# The mirror is the one apt is set up with; MIRROR=<url> overrides it. The kernel package is pinned by its sha256
# because backports rotate: KPKG=<package> KSHA=<sha256|any> takes another one. A complete DIR is left as it is.
# Exit 3 means that the packages cannot be had here (the caller skips), anything else but 0 is a fault.
set -euo pipefail
W=$(realpath -m "$1")
KPKG=${KPKG:-linux-image-6.18.15+deb13-amd64}
KSHA=${KSHA:-d38a7af6260782a47cd615ad717347a528b45f076245b4deabb3f1ecf8459186}
STAMP="$W/complete"
WANT="$KPKG $KSHA"
if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$WANT" ]; then exit 0; fi

unavailable() { echo "fetch.sh: $*" >&2; exit 3; }
command -v apt-get >/dev/null && command -v dpkg >/dev/null || unavailable "needs Debian's apt-get and dpkg"
[ "$(dpkg --print-architecture)" = amd64 ] || unavailable "needs amd64"
rm -f "$STAMP"
mkdir -p "$W"/{apt/lists/partial,cache/archives/partial,q,k,dl}
cd "$W"
exec 9>"$W/lock"
flock 9

KR=/usr/share/keyrings/debian-archive-keyring.gpg
R=$(. /etc/os-release; echo "${VERSION_CODENAME:-}")
from_targets() { # needs the package lists of an earlier `apt-get update`
  apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' "Codename: $R" 'Component: main'
}
from_sources() { # both source formats, for a machine without package lists
  { find /etc/apt/sources.list /etc/apt/sources.list.d -name "*.list" -o -name "*.sources" || :; } 2>/dev/null | sort |
    xargs -r -d '\n' awk -v r="$R" '
      function flush() { if (uri && suite && on) print uri; uri = ""; suite = 0; on = 1 }
      FNR == 1 || NF == 0 { flush() }
      /^[Uu][Rr][Ii]s:/ { uri = $2 }
      /^[Ss]uites:/ { for (i = 2; i <= NF; i++) if ($i == r) suite = 1 }
      /^[Ee]nabled:[ \t]*no/ { on = 0 }
      /^deb[ \t]/ { sub(/\[[^]]*\]/, ""); if ($3 == r) print $2 }
      END { flush() }'
}
# `sed -n 1p` and not `head`: a writer that dies of a closed pipe would end this script under pipefail.
M=${MIRROR:-$(from_targets 2>/dev/null | sed -n 1p || :)}
M=${M:-$(from_sources | sed -n 1p || :)}
M=${M%/}
[ -n "$M" ] || unavailable "apt's sources name no mirror for '$R'; set MIRROR=<url of a Debian mirror>"

cat > sources.list <<S
deb [signed-by=$KR] $M bookworm main
deb [signed-by=$KR] $M bookworm-backports main
deb [signed-by=$KR] $M trixie-backports main
S
cat > apt.conf <<S
Dir::State "$W/apt";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$W/cache";
Dir::Etc::sourcelist "$W/sources.list";
Dir::Etc::sourceparts "/dev/null";
APT::Install-Recommends "0";
APT::Sandbox::User "$(id -un)";
Acquire::Retries "3";
Acquire::http::Timeout "20";
Debug::NoLocking "1";
S
export APT_CONFIG="$W/apt.conf"
apt-get -qq update || unavailable "cannot read the package lists of $M"
apt-get -qq -d -y --reinstall install -t bookworm-backports \
  qemu-system-x86 qemu-system-data seabios busybox-static cpio >/dev/null || unavailable "cannot fetch QEMU 10"
apt-get -qq -d -y --reinstall install ethtool >/dev/null || unavailable "cannot fetch ethtool"
for deb in cache/archives/*.deb; do dpkg -x "$deb" q; done

rm -f dl/*.deb
if ( cd dl && apt-get -qq download "$KPKG" ); then
  if [ "$KSHA" != any ]; then
    echo "$KSHA  $(ls dl/*.deb)" | sha256sum -c --quiet - || { echo "fetch.sh: $KPKG is not the pinned one" >&2; exit 1; }
  fi
else
  unavailable "$KPKG has rotated away; name another with KPKG=<package> KSHA=<sha256> (igb binds zero-copy from 6.18 on)"
fi
rm -rf k; mkdir k
for deb in dl/*.deb; do dpkg -x "$deb" k; done
cp "$(find k -name 'vmlinuz*' -type f | sed -n 1p)" vmlinuz
# Only what a run needs stays: the driver and what it depends on, not 160 MB of modules and archives.
mkdir -p mod
for m in dca i2c-algo-bit igb; do
  f=$(find k -name "$m.ko*" | sed -n 1p)
  case $f in
    *.xz) xz -dc "$f" > "mod/$m.ko" ;;
    *.zst) zstd -qdc "$f" > "mod/$m.ko" ;;
    ?*) cp "$f" "mod/$m.ko" ;;
    *) echo "fetch.sh: $KPKG holds no module $m" >&2; exit 1 ;;
  esac
done
rm -rf k dl cache apt
echo "$WANT" > "$STAMP"
