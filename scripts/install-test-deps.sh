#!/usr/bin/env bash
# Installs what the scripts and tests need beyond Rust: Debian packages, and below the target directory Python programs in environments
# of their own, Prometheus, and libfaketime. Does nothing where all of it is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# curl and jq: scripts. strace: tests that fail a system call. gcc: zstd is compiled from C. python3: checkers and clients of
# protocols; rclone and restic: such clients.
tools=(curl jq strace gcc python3 rclone restic)
target_dir=${CARGO_TARGET_DIR:-$PWD/target}

fail() { echo "install-test-deps: $1" >&2; exit 1; }

case ${1:-} in
  '') ;;
  -h | --help) sed -n '2,3s/^# //p' scripts/install-test-deps.sh; exit 0 ;;
  *) fail "unknown option $1; it takes none but --help" ;;
esac

as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  else
    command -v sudo >/dev/null || fail "this is neither root nor is there sudo: $*"
    sudo "$@"
  fi
}

update_lists() { as_root apt-get update -qq >&2; }

install_packages() {
  local missing=() packages=() tool
  for tool in "${tools[@]}"; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  packages=("${missing[@]}")
  # Debian's python3 comes without what makes environments.
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    packages+=(python3-venv)
  fi
  [[ ${#packages[@]} -eq 0 ]] && return
  command -v apt-get >/dev/null || fail "${packages[*]} missing, and there is no apt-get; please install them"
  echo "install-test-deps: installing ${packages[*]}" >&2
  update_lists
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
}

# The list beside the environment tells what is in it; it is written last.
install_python() { # environment, list
  cmp -s "$2" "$1/installed.txt" && return
  echo "install-test-deps: installing what $2 names into $1" >&2
  python3 -m venv --clear "$1"
  "$1/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$2" >&2
  cp "$2" "$1/installed.txt"
}

# Taken out of its package, not installed: an installed Prometheus is a service that starts by itself and takes port 9090.
take() { # directory, package, files
  local directory=$1 package=$2 work file missing=0
  shift 2
  for file in "$@"; do
    [[ -x $directory/$file ]] || missing=1
  done
  ((missing)) || return 0
  if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
    fail "$* missing in $directory, and there is no apt-get to take the Debian package $package with"
  fi
  work=$(mktemp -d)
  echo "install-test-deps: taking $* out of the package $package into $directory" >&2
  if ! (cd "$work" && { apt-get download -qq "$package" || { update_lists && apt-get download -qq "$package"; }; } >&2); then
    rm -rf -- "$work"
    fail "apt-get cannot download $package"
  fi
  dpkg -x "$work/$package"_*.deb "$work/files"
  mkdir -p "$directory"
  for file in "$@"; do
    find "$work/files/usr" -name "$file" -type f -exec install -m 755 {} "$directory/" \;
  done
  rm -rf -- "$work"
  for file in "$@"; do
    [[ -x $directory/$file ]] || fail "the package $package has no $file"
  done
}

install_packages
install_python "$target_dir/test-python" scripts/python-test-deps.txt
install_python "$target_dir/s3-clients" testing/s3/requirements.txt
take "$target_dir/test-tools/bin" prometheus prometheus promtool
take "$target_dir/test-tools/bin" libfaketime libfaketime.so.1
