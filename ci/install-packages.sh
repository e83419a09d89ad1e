#!/bin/bash
# install-packages.sh [build|demo|test|lab|inline]...: installs from apt what is missing; silent and quick where nothing is.
#
# No service is started by an installation: nginx, sshd and dnsmasq are run by the demo and the tests themselves, inside
# namespaces, with configurations of their own; a newcomer's machine gains no listening port.
. "$(dirname "$0")/lib.sh"

BUILD="clang llvm libelf-dev zlib1g-dev libbpf-dev linux-libc-dev gcc g++ make m4 pkg-config git ca-certificates python3 python3-pip"
# The demo's servers, clients and attackers.
DEMO="iproute2 ethtool procps nginx-light openssh-server openssh-client dnsmasq-base bind9-dnsutils curl nmap hydra hping3
  tcpdump python3-venv zstd util-linux"
# What the tests compare with: tshark (conversations), valgrind (instructions), chromium (the live page), cpio and xz
# (the guest's root file system), vsftpd and netcat (traffic for training and tests), servers and clients of the protocols
# that EVE has events of (tests/live_services.rs).
TEST="tshark valgrind chromium vsftpd netcat-openbsd jq cpio xz-utils gzip
  samba smbclient krb5-kdc krb5-admin-server krb5-user udhcpc ngtcp2-client ngtcp2-server nghttp2-client
  python3-aiosmtpd"

# The traffic laboratory's: its own list, since only `make lab` and the training want so many.
LAB="$(tr '\n' ' ' < models/lab/packages.txt)"

# Traffic beside the frames of `make inline`, whose other servers and clients are the demo's.
INLINE="iperf3"

[ "${SHRIKE_INSTALL:-yes}" != no ] || exit 0
command -v apt-get >/dev/null || { say "no apt-get here: the packages are the machine owner's"; exit 0; }
want=
for set in "${@:-test}"; do
  case $set in
    build) want="$want $BUILD" ;;
    demo) want="$want $BUILD $DEMO" ;;
    test) want="$want $BUILD $DEMO $TEST" ;;
    lab) want="$want $LAB" ;;
    inline) want="$want $BUILD $DEMO $INLINE" ;;
    *) die "unknown set '$set': build, demo, test, lab or inline" ;;
  esac
done
missing=$(for package in $want; do
  # A package may be provided by another one (a meta package, a fuller nginx): what counts is the program.
  case $package in
    nginx-light) command -v nginx >/dev/null && continue ;;
    netcat-openbsd) command -v nc >/dev/null && continue ;;
  esac
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
done | sort -u | tr '\n' ' ')
[ -n "${missing// /}" ] || exit 0

if [ "$(id -u)" = 0 ]; then as_root=
elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then as_root=sudo
else
  die "these packages are missing and only root may install them; run:
  apt-get install --no-install-recommends $missing"
fi

say "installing: $missing"
$as_root env MISSING="$missing" DEBIAN_FRONTEND=noninteractive bash -euo pipefail -s <<'ROOT'
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  trap 'rm -f "$policy"' EXIT
  printf '#!/bin/sh\n# Of shrike/ci/install-packages.sh: start no service while it installs.\nexit 101\n' > "$policy"
  chmod 755 "$policy"
fi
# Wireshark asks a question that has nothing to do with us; unattended, its default (no setuid) is the right answer.
quiet() { out=$("$@" 2>&1) || { printf '%s\n' "$out" >&2; return 1; }; }
options="-qq -y --no-install-recommends -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3"
# Lists that are there may be stale (a fresh image) or belong to a mirror that moved on; only then are they renewed.
quiet apt-get $options install $MISSING 2>/dev/null || { quiet apt-get -qq update; quiet apt-get $options install $MISSING; }
ROOT
