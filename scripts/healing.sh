#!/usr/bin/env bash
# Measures how the cluster mends itself, on clusters of its own: a node lost for good, writes that a node missed, flipped bits, a
# node that flaps, how soon a dead node is noticed. Prints a table beside the targets of docs/reliability.md.
#
# What it keeps true:
# - Figures and the raw limit of the disk come from one run.
# - A low figure is a line of the table, never an exit status: 0 means that the table was made.
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/healing.sh [OPTIONS] [SCENARIO…]

Scenarios: lost missed flips flapping detection   (all)

  --gib N           what the lost node holds, in GiB                                   (2)
  --data DIR        where the clusters keep their data: empty or not there; removed    (./data-own-…)
  --markdown FILE   writes the table as Markdown, too

HOLDFAST_BIN_DIR=DIR takes the programs from DIR instead of building them.
TEXT
}

# shellcheck source=scripts/own-cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/own-cluster.sh"

gib=2 given_data='' markdown='' scenarios=()
while [[ $# -gt 0 ]]; do
  case $1 in
    --gib | --data | --markdown)
      [[ $# -ge 2 ]] || fail "$1 needs a value"
      case $1 in --gib) gib=$2 ;; --data) given_data=$2 ;; *) markdown=$2 ;; esac
      shift
      ;;
    lost | missed | flips | flapping | detection) scenarios+=("$1") ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown option or scenario $1; \`scripts/healing.sh --help\` lists them" ;;
  esac
  shift
done
[[ $gib =~ ^[1-9][0-9]{0,2}$ ]] || fail "--gib $gib: must be a number from 1 to 999"
((${#scenarios[@]} > 0)) || scenarios=(lost missed flips flapping detection)
command -v jq >/dev/null || fail "needs jq"

export HOLDFAST_NODE_LOST_AFTER_S=3 HOLDFAST_TRASH_WINDOW_S=5 HOLDFAST_ORPHAN_GRACE_S=5 HOLDFAST_SCRUB_BYTES_PER_S=0
export HOLDFAST_PROBE_INTERVAL_S=2

rows=()
row() { # measured, ours, target, verdict
  rows+=("| $1 | $2 | $3 | $4 |")
  printf '%-78s %-14s %-34s %s\n' "$1" "$2" "$3" "$4" >&2
}
met() { awk -v a="$1" -v op="$2" -v b="$3" 'BEGIN { print ((op == "<=" ? a <= b : a >= b) ? "met" : "MISSED") }'; }

ask() { curl -fs --noproxy '*' -m 10 "http://127.0.0.1:$port/$1"; }
lag() { ask metrics | awk '$1 == "replication_lag" { print $2 }'; }
worker() { ask admin/workers | jq -r ".workers[] | select(.name == \"$1\") | .$2"; }
load() { "$bin/bench" load --endpoint "http://127.0.0.1:$port" "$@"; }
now_ms() { date +%s%3N; }
seconds_since() { awk -v from="$1" -v to="$(now_ms)" 'BEGIN { printf "%.2f", (to - from) / 1000 }'; }

wait_for() { # seconds, what, command: until the command succeeds
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    ((SECONDS < deadline)) || fail "$what did not happen in time"
    sleep 0.1
  done
}
is_whole() { [[ $(lag) == 0 ]]; }
is_short() { [[ $(lag) -gt 0 ]]; }
is_lost() { [[ $(worker membership items) -gt 0 ]]; }
is_working() { ask admin/workers | jq -e '.has_lease and (.safe_mode.on | not)' >/dev/null; }

fresh_cluster() { # nodes
  cluster down --wipe --data "$data" >&2
  cluster up --nodes "$1" --port "$port" --s3-port $((port + 9)) --data "$data" >&2
  wait_for 60 "the workers' start" is_working
}

p99_of() { awk '$1 == "put" || $1 == "get" { for (i = 1; i < NF; i++) if ($i == "p99") { if ($(i + 1) > most) most = $(i + 1) } } END { print most + 0 }' "$1"; }

# A node that holds $gib GiB is gone for good: how fast are its copies back, and what do clients feel?
lost() {
  fresh_cluster 4
  local raw from bytes rate seconds before during beside beside_seconds
  raw=$("$bin/bench" limits --dir "$data" | awk '/one append \+ fdatasync stream/ { if ($(NF - 1) > most) most = $(NF - 1) } END { print most }')
  load --operation put --size 1MiB --clients 4 --count $((gib * 1024 * 4 / 3)) >&2
  load --operation mixed --size 4KiB --clients 4 --seconds 10 >"$work/before"
  cluster kill 2 --data "$data" >&2
  wait_for 60 "that node 2 counts as lost" is_lost
  wait_for 60 "that its copies are missed" is_short
  from=$(now_ms)
  load --operation mixed --size 4KiB --clients 4 --seconds 10 >"$work/during" &
  wait $! || true
  beside=$(worker repair bytes) beside_seconds=$(seconds_since "$from")
  wait_for 900 "repair" is_whole
  seconds=$(seconds_since "$from")
  bytes=$(worker repair bytes)
  rate=$(awk -v b="$bytes" -v s="$seconds" 'BEGIN { printf "%.0f", b / 1e6 / s }')
  before=$(p99_of "$work/before") during=$(p99_of "$work/during")
  row "raw: one append + fdatasync stream of 1 MiB records" "$raw MB/s" "" ""
  row "node with $(awk -v b="$bytes" 'BEGIN { printf "%.2f", b / 2^30 }') GiB lost, clients at work: all copies back" "$seconds s" "<= 60 s" "$(met "$seconds" '<=' 60)"
  row "the same: rate" "$rate MB/s" ">= 60 % of raw" "$(met "$rate" '>=' "$(awk -v r="$raw" 'BEGIN { print r * 0.6 }')")"
  row "the same: rate while clients were at work" "$(awk -v b="$beside" -v s="$beside_seconds" 'BEGIN { printf "%.0f", b / 1e6 / s }') MB/s" "" ""
  row "the same: rate after they left" "$(awk -v b="$bytes" -v a="$beside" -v s="$seconds" -v t="$beside_seconds" 'BEGIN { if (s > t + 1) printf "%.0f MB/s", (b - a) / 1e6 / (s - t); else print "whole before" }')" "" ""
  row "the same: clients' p99 (before: $before ms)" "$during ms" "<= twice" "$(met "$during" '<=' "$(awk -v b="$before" 'BEGIN { print b * 2 }')")"
  row "the same: failed requests of clients" "$(awk '/errors/ { sum += $NF } END { print sum + 0 }' "$work/during")" "0" "$(met "$(awk '/errors/ { sum += $NF } END { print sum + 0 }' "$work/during")" '<=' 0)"
}

# 1,000 writes while one of three nodes is away.
missed() {
  fresh_cluster 3
  cluster stop 3 --data "$data" >&2
  load --operation put --size 4KiB --clients 8 --count 1000 >&2
  local short from seconds
  short=$(lag)
  cluster start 3 --data "$data" >&2
  from=$(now_ms)
  wait_for 120 "repair of missed writes" is_whole
  seconds=$(seconds_since "$from")
  row "$short writes missed by one node: repaired after its return" "$seconds s" "<= 10 s" "$(met "$seconds" '<=' 10)"
}

flip() { # file, offset, bit
  local byte
  byte=$(od -An -tu1 -j "$2" -N 1 "$1")
  printf '%b' "\\x$(printf '%02x' $((byte ^ (1 << $3))))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# 1,000 random bits of one node's sealed segments.
flips() {
  fresh_cluster 4
  load --operation put --size 64KiB --clients 8 --count 6000 >&2
  local files=() file n before found from seconds
  mapfile -t files < <(find "$data/n1/segments" -name '*.seg' | sort | head -n -1)
  ((${#files[@]} > 0)) || fail "node 1 has no sealed segment"
  RANDOM=1
  for ((n = 0; n < 1000; n++)); do
    file=${files[RANDOM % ${#files[@]}]}
    flip "$file" $((4096 + (RANDOM * 32768 + RANDOM) % ($(stat -c %s "$file") - 8192))) $((RANDOM % 8))
  done
  before=$("$bin/holdfast-fsck" --json "$data/n1" | jq '[.nodes[] | .corrupt + .damaged_stretches] | add') || true
  from=$(now_ms)
  scrub
  wait_for 300 "repair" is_whole
  seconds=$(seconds_since "$from")
  found=$(worker repair items)
  row "1000 flipped bits in $before records: records mended after one scrub" "$found in $seconds s" ">= $before" "$(met "$found" '>=' "$before")"
  scrub
  sleep 2
  local again
  again=$(($(worker repair items) - found))
  row "the same: found by a second scrub" "$again" "0" "$(met "$again" '<=' 0)"
}

# A whole scrub, from its order to its end.
scrub() {
  local ordered
  wait_for 300 "the end of the scrub before" is_at_rest
  ordered=$(worker scrub items)
  curl -fs --noproxy '*' -X POST -d '{"run":true}' "http://127.0.0.1:$port/admin/workers/scrub" >/dev/null
  wait_for 60 "the scrub's beginning" has_scrubbed_since "$ordered"
  wait_for 300 "the scrub's end" is_at_rest
}
has_scrubbed_since() { [[ $(worker scrub items) -gt $1 ]]; }
is_at_rest() { [[ $(worker scrub state) == idle ]]; }

# A node goes and comes every two seconds while files are written.
flapping() {
  fresh_cluster 3
  local n reply needed=0 repaired ratio
  (for ((n = 0; n < 12; n++)); do
    cluster kill 3 --data "$data"
    sleep 2
    cluster start 3 --data "$data"
    sleep 2
  done) >/dev/null 2>&1 &
  local flapper=$!
  while kill -0 "$flapper" 2>/dev/null; do
    head -c 65536 /dev/urandom >"$work/body"
    reply=$(curl -s --noproxy '*' -m 30 -F "file=@$work/body;filename=f$RANDOM$RANDOM" "http://127.0.0.1:$port/upload" || true)
    needed=$((needed + $(jq -r '(.receipt.pending // 0) * (.stored_bytes // 0)' <<<"$reply" 2>/dev/null || echo 0)))
  done
  wait_for 120 "repair after the flapping" is_whole
  repaired=$(worker repair bytes)
  ratio=$(awk -v r="$repaired" -v n="$needed" 'BEGIN { printf "%.2f", n ? r / n : 0 }')
  row "a node that flapped for 48 s: bytes repaired / bytes missed ($needed)" "$ratio" "<= 1.2" "$(met "$ratio" '<=' 1.2)"
}

# A node dies under load: when is it passed over, and does any request fail?
detection() {
  fresh_cluster 4
  load --operation mixed --size 4KiB --clients 8 --seconds 8 >"$work/load" &
  local clients=$! from seconds failed
  sleep 2
  from=$(now_ms)
  cluster kill 4 --data "$data" >/dev/null
  wait_for 60 "that the death is noticed" noticed
  seconds=$(seconds_since "$from")
  wait "$clients" || true
  failed=$(awk '/errors/ { sum += $NF } END { print sum + 0 }' "$work/load")
  row "a node killed under load: noticed after" "$seconds s" "<= 3 s" "$(met "$seconds" '<=' 3)"
  row "the same: failed requests of $(awk '$1 == "put" || $1 == "get" { sum += $2 } END { print sum }' "$work/load")" "$failed" "0" "$(met "$failed" '<=' 0)"
}
noticed() { ask system/health | jq -e '.healthyNodes < .totalNodes' >/dev/null; }

start_own_cluster "$given_data"
for scenario in "${scenarios[@]}"; do "$scenario"; done
{
  printf '| measured | ours | target | verdict |\n|---|---|---|---|\n'
  printf '%s\n' "${rows[@]}"
} >"$work/table"
cat "$work/table"
[[ -z $markdown ]] || cp "$work/table" "$markdown"
