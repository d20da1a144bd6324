#!/usr/bin/env bash
# A throwaway cluster for a script that measures or breaks one: sourced by bench.sh, load-test.sh and kill-test.sh, which call
# start_own_cluster. It sets root, bin, data, port and work (a directory for temporary files).
#
# What it keeps true:
# - It touches no other cluster: free ports, a data directory of its own, which it removes however the script ends.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What is measured is not to meet a census by chance.
export HOLDFAST_CENSUS_INTERVAL_S=${HOLDFAST_CENSUS_INTERVAL_S:-86400}

cluster() { "$root/scripts/cluster.sh" "$@"; }
fail() { echo "${0##*/}: $*" >&2; exit 1; }

# The packages whose programs the script needs; one that needs no bench says so before it starts a cluster.
packages=(coordinator storage-node bench)

find_programs() {
  local package
  if [[ -n ${HOLDFAST_BIN_DIR:-} ]]; then
    bin=$(cd "$HOLDFAST_BIN_DIR" 2>/dev/null && pwd) || fail "HOLDFAST_BIN_DIR=$HOLDFAST_BIN_DIR is not a directory"
  else
    (cd "$root" && cargo build --release --locked "${packages[@]/#/--package=}") || fail "the build failed"
    bin=${CARGO_TARGET_DIR:-$root/target}/release
  fi
  for package in "${packages[@]}"; do
    [[ -x $bin/$package ]] || fail "$bin has no $package; \`cargo build --release -p $package\` makes it"
  done
  export HOLDFAST_BIN_DIR=$bin
}

is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# The first of neighbouring ports on which nobody listens: coordinator, up to four nodes or as many as there are to be, S3.
find_ports() { # nodes
  local first offset count=$(($1 > 4 ? $1 + 2 : 6))
  for ((first = 18080; first < 30000; first += 10)); do
    for ((offset = 0; offset < count; offset++)); do
      is_free $((first + offset)) || continue 2
    done
    echo "$first"
    return
  done
  fail "no $count neighbouring ports are free from 18080 on"
}

# Where the data lies matters: a directory in memory would flatter every figure, so the default is beside the sources.
start_own_cluster() { # [data directory] [nodes] [port]
  data=${1:-} own_data=''
  # Whatever comes of it, the end wipes it.
  [[ -z $data || ! -e $data || -z $(ls -A "$data") ]] || fail "$data is not empty; the cluster of this script is removed at its end"
  find_programs
  if [[ -z $data ]]; then
    data=$(mktemp -d "$root/data-own-XXXXXX")
    own_data=1
  fi
  work=$(mktemp -d)
  trap take_down EXIT
  local nodes=${2:-4}
  port=${3:-$(find_ports "$nodes")}
  cluster up --nodes "$nodes" --port "$port" --s3-port $((port + (nodes > 4 ? nodes : 4) + 1)) --data "$data" >&2
}

# Ends the cluster, so that another may be started.
stop_own_cluster() {
  cluster down --wipe --data "$data" >&2 || true
  [[ -z $own_data ]] || rm -rf -- "$data"
  rm -rf -- "$work"
}

take_down() {
  local status=$?
  trap - EXIT
  stop_own_cluster
  exit "$status"
}
