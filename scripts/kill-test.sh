#!/usr/bin/env bash
# The kill test (contract B10) on a cluster of its own: a node is stopped, a write goes on without it, and what it missed is
# repaired when it is back. On three nodes the write is a replica short; on four it finds a third healthy node.
#
# What it keeps true:
# - Every step prints what was done, what was seen, and PASS or FAIL; the exit status is 0 only if all passed.
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/kill-test.sh [3|4 …] [OPTIONS]      both, if none is named

  3                 three nodes: stop one, write, see the repair scheduled, start it, see the repair done
  4                 four nodes: stop one, write; there is nothing to repair

  --port P          the coordinator's port; the others follow it   (the first that is free)
  --data DIR        where the clusters keep their data: empty or not there; removed afterwards   (./data-own-…)

HOLDFAST_BIN_DIR=DIR takes the programs from DIR instead of building them.
TEXT
}

# shellcheck source=scripts/own-cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/own-cluster.sh"
packages=(coordinator storage-node)

given_data='' given_port='' sizes=()
while [[ $# -gt 0 ]]; do
  case $1 in
    3 | 4) sizes+=("$1") ;;
    --data | --port)
      [[ $# -ge 2 ]] || fail "$1 needs a value"
      if [[ $1 == --data ]]; then given_data=$2; else given_port=$2; fi
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown option or size $1; \`scripts/kill-test.sh --help\` lists them" ;;
  esac
  shift
done
((${#sizes[@]} > 0)) || sizes=(3 4)

object=/s3/test/file.txt
text='Chaos Test'
repair_line='Quorum met, but nodes failed. Scheduling repair.'
seen_s_max=10   # a line in the log, a gauge after a write
repair_s_max=60 # a node that is back is noticed within seconds; its repair is paced
healthy_s_max=60
passed=0 failed=0

# ---- steps --------------------------------------------------------------------------------------------------------------

verdict() { # PASS or FAIL, what was done, what was seen
  printf '%s  %-58s %s\n' "$1" "$2" "$3"
  if [[ $1 == PASS ]]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

# Passes once COMMAND prints exactly what is expected.
expect() { # step, expected, seconds it may take, command
  local step=$1 expected=$2 deadline=$((SECONDS + $3)) seen
  shift 3
  while true; do
    seen=$("$@" 2>&1) || seen="failed: $seen"
    if [[ $seen == "$expected" ]]; then
      verdict PASS "$step" "saw: $seen"
      return
    fi
    ((SECONDS < deadline)) || break
    sleep 0.2
  done
  verdict FAIL "$step" "expected: $expected, saw: $seen"
}

# Passes if COMMAND succeeds.
act() { # step, command
  local step=$1 seen
  shift
  if seen=$("$@" 2>&1); then verdict PASS "$step" "saw: $(last_line "$seen")"; else verdict FAIL "$step" "saw: $(last_line "$seen")"; fi
}

last_line() { tail -n 1 <<<"$1"; }

get() { curl -sS --noproxy '*' -m 20 "http://127.0.0.1:$port$1"; }

replication_lag() { get /metrics | awk '$1 == "replication_lag" { print $2 }'; }

write() { curl -sS --fail-with-body --noproxy '*' -m 20 -X PUT --data "$text" "http://127.0.0.1:$port$object"; }

# The receipt says how many replicas are durable right now.
copies_of_a_write() { # key
  curl -sS --noproxy '*' -m 20 -o /dev/null -D - -X PUT --data "$text $1" "http://127.0.0.1:$port/s3/test/$1" |
    tr -d '\r' | sed -n 's/^x-holdfast-durability: copies=\([0-9]*\);.*/\1/p'
}

repair_lines() { grep -cF "$repair_line" "$data/logs/coordinator.log" || true; }

is_healthy() { get /system/health | grep -o '"status":"[a-z]*"' | head -n 1; }

# ---- the two tests ------------------------------------------------------------------------------------------------------

on_three_nodes() {
  act 'stop node 3' cluster stop 3 --data "$data"
  act "curl -X PUT --data \"$text\" …$object succeeds" write
  expect "the log says: $repair_line" 1 "$seen_s_max" repair_lines
  expect 'replication_lag is 1' 1 "$seen_s_max" replication_lag
  expect 'the object is read back' "$text" "$seen_s_max" get "$object"
  act 'start node 3' cluster start 3 --data "$data"
  expect 'replication_lag falls to 0' 0 "$repair_s_max" replication_lag
  expect 'the object is read back' "$text" "$seen_s_max" get "$object"
}

on_four_nodes() {
  act 'stop node 3' cluster stop 3 --data "$data"
  act "curl -X PUT --data \"$text\" …$object succeeds" write
  expect 'a write has three durable replicas all the same' 3 "$seen_s_max" copies_of_a_write other.txt
  expect 'replication_lag is 0' 0 "$seen_s_max" replication_lag
  expect 'the object is read back' "$text" "$seen_s_max" get "$object"
  act 'start node 3' cluster start 3 --data "$data"
  expect 'replication_lag is 0' 0 "$seen_s_max" replication_lag
}

# ---- the story ----------------------------------------------------------------------------------------------------------

for size in "${sizes[@]}"; do
  printf '\n== %s nodes\n' "$size"
  start_own_cluster "$given_data" "$size" "$given_port"
  expect 'the cluster is healthy' '"status":"healthy"' "$healthy_s_max" is_healthy
  case $size in
    3) on_three_nodes ;;
    4) on_four_nodes ;;
  esac
  stop_own_cluster
done
trap - EXIT
printf '\n%s passed, %s failed\n' "$passed" "$failed"
((failed == 0))
