# Sourced by the scripts beside it: the project's root as working directory, and how they talk.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Cargo as rustup installs it is often not on the path of a fresh shell; under `sudo make` it is the caller's.
if ! command -v cargo >/dev/null; then
  owner=$(getent passwd "${SUDO_USER:-$(id -un)}" | cut -d: -f6)
  if [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  elif [ -x "$owner/.cargo/bin/cargo" ]; then
    export CARGO_HOME=$owner/.cargo RUSTUP_HOME=${RUSTUP_HOME:-$owner/.rustup}
    PATH="$CARGO_HOME/bin:$PATH"
  fi
fi
case ":$PATH:" in *:/usr/sbin:*) ;; *) PATH="$PATH:/usr/sbin:/sbin" ;; esac
export PATH
