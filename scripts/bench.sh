#!/usr/bin/env bash
# Starts a cluster of its own, measures it and this machine in the same run, prints the table and takes the cluster down; or
# measures the S3 protocol of a server that runs already.
#
# What it keeps true:
# - Limits and figures come from one run, with nothing else of ours running.
# - A low figure is a line of the table, never an exit status: 0 means that the table was made.
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/bench.sh [OPTIONS]

  --quick           the default, under six minutes
  --full            longer runs, a 4 GiB upload, a node with a million shards; takes about 40 GiB of disk
  --only PARTS      of the table: small, medium, large, memory, s3, documents (alone: it has six nodes then), releases, watching,
                    restarts; several with commas
  --codes           erasure coding against copies instead, on six nodes; --help of scripts/bench-codes.sh says more
  --endpoint URL    measures S3 there, at any server, and starts no cluster; keys are taken from AWS_ACCESS_KEY_ID and
                    AWS_SECRET_ACCESS_KEY. It puts its objects in the bucket `bench`, and leaves them there
  --pids PIDS       with --endpoint: the server's processes, whose CPU and memory are told; several with commas
  --data DIR        where the cluster keeps its data: empty or not there; removed afterwards   (./data-own-…)
  --markdown FILE   writes the table as Markdown, too

HOLDFAST_BIN_DIR=DIR takes the programs from DIR instead of building them.
TEXT
}

# shellcheck source=scripts/own-cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/own-cluster.sh"

# Successive releases, as the registry has them. The first is large (68 MB and 9,000 files each) and changes little from release to
# release, the second changes in most of its files, and is so small that its CPU is some twenty ticks of the kernel's clock.
aws_sdk_ec2_versions=(1.267.0 1.268.0 1.269.0 1.270.0 1.271.0 1.272.0 1.273.0 1.274.0)
tokio_versions=(1.46.0 1.47.0 1.48.0 1.49.0 1.50.0 1.51.0 1.52.0 1.53.0)

if [[ ${1:-} == --codes ]]; then
  shift
  exec "$root/scripts/bench-codes.sh" "$@"
fi

full='' data='' markdown='' only='' endpoint='' pids=''
while [[ $# -gt 0 ]]; do
  case $1 in
    --quick) full='' ;;
    --full) full=1 ;;
    --data | --markdown | --only | --endpoint | --pids)
      [[ $# -ge 2 ]] || fail "$1 needs a value"
      printf -v "${1#--}" '%s' "$2"
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown option $1; \`scripts/bench.sh --help\` lists them" ;;
  esac
  shift
done

# Each release as a plain tar of its source tree: the same names and times in all, as a checkout would have them.
fetch_releases() { # package versions
  local package=$1 version crate number=0 target=$work/releases/$1 tree=$work/tree
  shift
  mkdir -p "$target" "$work/fetch/src"
  : >"$work/fetch/src/lib.rs"
  for version in "$@"; do
    printf '[package]\nname = "fetch"\nedition = "2024"\n[workspace]\n[dependencies]\n%s = { version = "=%s", default-features = false }\n' \
      "$package" "$version" >"$work/fetch/Cargo.toml"
    rm -f "$work/fetch/Cargo.lock"
    cargo fetch --quiet --manifest-path "$work/fetch/Cargo.toml" 2>/dev/null ||
      cargo fetch --quiet --offline --manifest-path "$work/fetch/Cargo.toml" 2>/dev/null || return 1
    crate=$(find "${CARGO_HOME:-$HOME/.cargo}/registry/cache" -name "$package-$version.crate" -print -quit)
    [[ -n $crate ]] || return 1
    rm -rf "$tree"
    mkdir "$tree"
    tar -xzf "$crate" -C "$tree" --strip-components=1
    number=$((number + 1))
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$tree" \
      -cf "$target/$(printf '%02d' "$number")-$package-$version.tar" .
  done
}

fetch_all_releases() {
  mkdir -p "$work/releases"
  command -v cargo >/dev/null || return 0
  echo "fetching releases"
  fetch_releases aws-sdk-ec2 "${aws_sdk_ec2_versions[@]}" || { echo "cannot fetch aws-sdk-ec2"; rm -rf "$work/releases/aws-sdk-ec2"; }
  fetch_releases tokio "${tokio_versions[@]}" || { echo "cannot fetch tokio"; rm -rf "$work/releases/tokio"; }
}

if [[ -n $endpoint ]]; then
  [[ -z $data$only ]] || fail "--endpoint goes with neither --data nor --only"
  packages=(bench)
  find_programs
  arguments=(s3 --endpoint "$endpoint")
  [[ -z $pids ]] || arguments+=(--pids "$pids")
  [[ -z $full ]] || arguments+=(--full)
  [[ -z $markdown ]] || arguments+=(--markdown "$markdown")
  exec "$bin/bench" "${arguments[@]}"
fi
[[ -z $pids ]] || fail "--pids goes with --endpoint"

nodes=4
[[ $only != documents ]] || nodes=6
start_own_cluster "$data" "$nodes"
[[ -n $only && $only != *releases* ]] || fetch_all_releases >&2
arguments=(suite --data "$data" --storage-node "$bin/storage-node" --releases "$work/releases")
[[ -z $full ]] || arguments+=(--full)
[[ -z $only ]] || arguments+=(--only "$only")
[[ -z $markdown ]] || arguments+=(--markdown "$markdown")
"$bin/bench" "${arguments[@]}"
