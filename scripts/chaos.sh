#!/usr/bin/env bash
# Chaos from a seed: a cluster of real processes under load is killed, frozen, cut off, filled, wiped and rotted; afterwards everything that
# clients were told is held against what is there, and the copies are counted on the disks (testing/src/chaos).
#
# What it keeps true:
# - It touches no other cluster: free ports, a directory of its own, which is removed unless the run fails.
# - A run that fails is added to testing/chaos-seeds.txt, and is run again first, for ever.
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/chaos.sh [OPTIONS]

  --seed S             what bodies, clients and faults are drawn from         (1)
  --minutes M          how long faults last, if each kind has struck by then;  (1)
                       afterwards everything must get well
  --nodes N            storage nodes, 3 to 14                                 (4)
  --scenario LETTERS   which faults                                           (all: katspdwr)
      k kill -9 of one process or two    a kill -9 of all          t SIGTERM and a new start
      s SIGSTOP, later SIGCONT           p slow, silent, one-way, reset and refused connections
      d full disk                        w a disk is wiped and replaced          r bits flip in sealed segments
  --data DIR           where the cluster makes its directory                  (the directory of temporary files)
  --check FILE         only judge a history.jsonl that was recorded
  --no-replay          do not run what failed before

The first line is the schedule, as JSON. Exit code: 0 everything held, 1 something did not, 2 it could not be run.
HOLDFAST_BIN_DIR=DIR takes the programs from DIR instead of building them.
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for argument in "$@"; do
  case $argument in
    -h | --help) usage; exit 0 ;;
  esac
done

if [[ -n ${HOLDFAST_BIN_DIR:-} ]]; then
  bin=$(cd "$HOLDFAST_BIN_DIR" && pwd)
else
  (cd "$root" && cargo build --release --locked -p coordinator -p storage-node -p testing --bins)
  bin=${CARGO_TARGET_DIR:-$root/target}/release
fi
[[ -x $bin/chaos ]] || { echo "chaos.sh: $bin has no chaos; \`cargo build --release -p testing --bins\` makes it" >&2; exit 2; }
export HOLDFAST_BIN_DIR=$bin
exec "$bin/chaos" --seeds "$root/testing/chaos-seeds.txt" "$@"
