#!/usr/bin/env bash
# Installs what the scripts and tests need beyond Rust: Debian packages, and S3 clients from PyPI in an environment of their own
# below the target directory. Does nothing where all of it is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# curl and jq: scripts. strace: tests that fail a system call. gcc: zstd is compiled from C. The rest: the client matrix.
tools=(curl jq strace gcc python3 rclone restic)
requirements=testing/s3/requirements.txt
clients=${CARGO_TARGET_DIR:-$PWD/target}/s3-clients

fail() { echo "install-test-deps: $*" >&2; exit 1; }

install_packages() { # packages
  command -v apt-get >/dev/null || fail "$* missing, and there is no apt-get; please install them"
  local as_root=()
  if [[ $EUID -ne 0 ]]; then
    command -v sudo >/dev/null || fail "$* missing, and this is neither root nor is there sudo"
    as_root=(sudo)
  fi
  echo "install-test-deps: installing $*" >&2
  export DEBIAN_FRONTEND=noninteractive
  "${as_root[@]}" apt-get update -qq >&2
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@" >&2
}

install_tools() {
  local tool missing=()
  for tool in "${tools[@]}"; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  [[ ${#missing[@]} -eq 0 ]] || install_packages "${missing[@]}"
}

# The copy of the requirements beside them says which clients are there: it is laid down last.
install_clients() {
  cmp -s "$requirements" "$clients/requirements.txt" && return
  echo "install-test-deps: installing S3 clients in $clients" >&2
  python3 -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
  rm -rf -- "$clients"
  mkdir -p "$(dirname "$clients")"
  python3 -m venv "$clients"
  "$clients/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$requirements" >&2
  cp "$requirements" "$clients/requirements.txt"
}

install_tools
install_clients
