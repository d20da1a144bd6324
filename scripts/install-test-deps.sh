#!/usr/bin/env bash
# Installs what the scripts and tests need beyond Rust, from Debian packages. Does nothing where all of it is there.
set -euo pipefail

# curl and jq: scripts. strace: tests that fail a system call. gcc: zstd is compiled from C.
tools=(curl jq strace gcc)

missing=()
for tool in "${tools[@]}"; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
[[ ${#missing[@]} -eq 0 ]] && exit 0

fail() { echo "install-test-deps: ${missing[*]} missing, and $1" >&2; exit 1; }

command -v apt-get >/dev/null || fail "there is no apt-get; please install them"
as_root=()
if [[ $EUID -ne 0 ]]; then
  command -v sudo >/dev/null || fail "this is neither root nor is there sudo"
  as_root=(sudo)
fi
echo "install-test-deps: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq >&2
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
