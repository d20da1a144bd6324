#!/usr/bin/env bash
# Measures erasure coding against copies on a cluster of six nodes of its own: what bench.sh --codes runs.
#
# What it keeps true:
# - Copies and coded objects are measured in the same run, on the same nodes; what counts are the ratios.
# - Every download is compared with what was uploaded; a difference ends it with an error. A low figure does not.
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/bench-codes.sh [--data DIR] [--files N]

  --data DIR        where the cluster keeps its data: empty or not there; removed afterwards   (./data-own-…)
  --files N         files of 64 MiB that are put each way                                      (6)

HOLDFAST_BIN_DIR=DIR takes the programs from DIR instead of building them, and leaves the encoder out.
TEXT
}

# shellcheck source=scripts/own-cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/own-cluster.sh"

nodes=6 bytes=$((64 << 20)) given_data='' files=6
while [[ $# -gt 0 ]]; do
  case $1 in
    --data | --files)
      [[ $# -ge 2 ]] || fail "$1 needs a value"
      if [[ $1 == --data ]]; then given_data=$2; else files=$2; fi
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown option $1; \`scripts/bench-codes.sh --help\` lists them" ;;
  esac
  shift
done
[[ $files =~ ^[1-9][0-9]{0,2}$ ]] || fail "--files $files: must be a number from 1 to 999"

now_ms() { echo $(($(date +%s%N) / 1000000)); }
ratio() { awk -v a="$1" -v b="$2" -v digits="${3:-2}" 'BEGIN { printf "%.*f", digits, (b > 0 ? a / b : 0) }'; }
mb_per_s() { ratio $((files * bytes / 1000)) "$1" 0; } # ms

of_nodes() { # path, pattern, field: the sum over the nodes that answer
  local number
  for ((number = 1; number <= nodes; number++)); do
    curl -fsS "http://127.0.0.1:$((port + number))$1" 2>/dev/null || true
    echo
  done | grep -oE "$2" | grep -oE '[0-9.e+]+$' | awk '{ sum += $1 } END { printf "%.0f", sum }'
}
stored() { of_nodes /health '"live_bytes":[0-9]+'; }
sent() { of_nodes /metrics 'data_transfer_bytes_total[{].*direction="out".*[}] [0-9.e+]+'; }

put_one() { # strategy number; the milliseconds it took
  local began
  began=$(now_ms)
  curl -fsS -o /dev/null -F "filename=$1-$2" -F "file=@$work/$1-$2" "http://127.0.0.1:$port/upload?strategy=$1" \
    || fail "a $1 upload failed"
  echo $(($(now_ms) - began))
}

get_all() { # strategy; the milliseconds it took
  local number began took=0
  for ((number = 1; number <= files; number++)); do
    began=$(now_ms)
    curl -fsS -o "$work/got" "http://127.0.0.1:$port/files/$1-$number" || fail "a $1 download failed"
    took=$((took + $(now_ms) - began))
    cmp -s "$work/got" "$work/$1-$number" || fail "$1-$number is not what was uploaded"
  done
  echo "$took"
}

wait_until() { # what, seconds, command …
  local what=$1 left=$2
  shift 2
  until "$@"; do
    ((left-- > 0)) || fail "waited in vain: $what"
    sleep 1
  done
}
nothing_to_repair() {
  curl -fsS "http://127.0.0.1:$port/metrics" | grep -E '^replication_lag(\{[^}]*\})? 0(\.0)?$' >/dev/null
}

if [[ -z ${HOLDFAST_BIN_DIR:-} ]]; then
  (cd "$root" && HOLDFAST_CODE_ROUNDS=4000 cargo test --release --locked -q -p coordinator --lib encoded_again_and_again -- --nocapture) | grep 'GiB/s'
fi
packages=(coordinator storage-node)
# What is deleted goes at once: what is repaired in the end is coded and nothing else.
export HOLDFAST_TRASH_WINDOW_S=0
start_own_cluster "$given_data" "$nodes"
for strategy in replication ec; do
  for ((number = 1; number <= files; number++)); do
    head -c "$bytes" /dev/urandom >"$work/$strategy-$number"
  done
done

declare -A put=([replication]=0 [ec]=0) healthy kept=([replication]=0 [ec]=0)
# Turn and turn about, so that whatever else this machine does strikes both.
for ((number = 1; number <= files; number++)); do
  for strategy in replication ec; do
    before=$(stored)
    put[$strategy]=$((put[$strategy] + $(put_one "$strategy" "$number")))
    wait_until "stragglers are done" 60 nothing_to_repair
    kept[$strategy]=$((kept[$strategy] + $(stored) - before))
  done
done
for strategy in replication ec; do
  healthy[$strategy]=$(get_all "$strategy")
  echo "$strategy: stored $(ratio "${kept[$strategy]}" $((files * bytes)) 3) × of what was put; put $(mb_per_s "${put[$strategy]}") MB/s, got $(mb_per_s "${healthy[$strategy]}") MB/s"
done
echo "put, coded ÷ copies: $(ratio "${put[replication]}" "${put[ec]}")"

# A disk is replaced by an empty one: what it held of the coded files is computed from what the others send.
for ((number = 1; number <= files; number++)); do
  curl -fsS -o /dev/null -X DELETE "http://127.0.0.1:$port/delete?filename=replication-$number&purge=true"
done
only_coded() { (($(stored) * 100 <= files * bytes * 151)); }
wait_until "the copies are gone" 120 only_coded
cluster stop 6 --data "$data" >&2
cluster stop 5 --data "$data" >&2
degraded=$(get_all ec)
echo "got with two nodes away ÷ healthy: $(ratio "${healthy[ec]}" "$degraded")"
cluster start 5 --data "$data" >&2
cluster start 6 --data "$data" >&2
wait_until "all nodes are healthy" 120 bash -c "curl -fsS http://127.0.0.1:$port/system/health | grep -q '\"healthyNodes\":$nodes'"
wait_until "nothing is to be repaired" 120 nothing_to_repair
sent_before=$(sent) began=$(now_ms)
cluster replace 6 --data "$data" >&2
wait_until "the repair begins" 180 bash -c "! curl -fsS http://127.0.0.1:$port/metrics | grep -qE '^replication_lag(\{[^}]*\})? 0(\.0)?$'"
wait_until "the repair is done" 600 nothing_to_repair
held=$(curl -fsS "http://127.0.0.1:$((port + 6))/health" | grep -oE '"live_bytes":[0-9]+' | grep -oE '[0-9]+$')
echo "repair of a lost disk: $(ratio $(($(sent) - sent_before)) "$held") bytes sent by nodes for each byte on the new disk, $(($(now_ms) - began)) ms"
