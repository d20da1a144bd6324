#!/usr/bin/env bash
# Uploads many versions to a cluster of its own, removes the coordinator's directory, restores the catalog from the storage nodes, and
# compares what is listed before and after, and the bytes of a sample of the versions.
#
# What it keeps true:
# - It fails on any difference, and on a restore that takes longer than --seconds.
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/restore-test.sh [OPTIONS]

  --versions N      how many versions to upload                                       (100000)
  --sample N        how many of them to download before and after                     (200)
  --seconds S       how long the restore may take                                     (60)
  --data DIR        where the cluster keeps its data: empty or not there; removed afterwards   (./data-own-…)

HOLDFAST_BIN_DIR=DIR takes the programs from DIR instead of building them.
TEXT
}

# shellcheck source=scripts/own-cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/own-cluster.sh"

versions=100000 sample=200 seconds=60 given_data=''
while [[ $# -gt 0 ]]; do
  case $1 in
    --versions | --sample | --seconds | --data)
      [[ $# -ge 2 ]] || fail "$1 needs a value"
      if [[ $1 == --data ]]; then given_data=$2; else printf -v "${1#--}" '%s' "$2"; fi
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown option $1; \`scripts/restore-test.sh --help\` lists them" ;;
  esac
  shift
done
for number in "$versions" "$sample" "$seconds"; do
  [[ $number =~ ^[1-9][0-9]{0,7}$ ]] || fail "$number: must be a number from 1 to 99999999"
done

ask() { curl -sS --fail --noproxy '*' -m 30 "http://127.0.0.1:$port$1"; }

# All of the listing, a line for each file: name, size, version, time.
listing() {
  local after='' page next
  while :; do
    page=$(ask "/files?limit=1000$after") || fail "the listing failed"
    jq -r '.files[] | [.filename, .size, .version, .last_modified] | @tsv' <<<"$page"
    next=$(jq -r '.next // empty' <<<"$page")
    [[ -n $next ]] || return 0
    after="&after=$(jq -rn --arg next "$next" '$next | @uri')"
  done
}

# The hash of every so-many-th file's bytes.
bytes_of_sample() { # listing
  local every=$(($(wc -l <"$1") / sample + 1)) name
  awk -v every="$every" -F'\t' 'NR % every == 1 || every == 1 { print $1 }' "$1" | while read -r name; do
    printf '%s %s\n' "$name" "$(ask "/download?filename=$name" | sha256sum)"
  done
}

wait_healthy() {
  local deadline=$((SECONDS + 60))
  until [[ $(ask /system/health 2>/dev/null | jq -r .status) == healthy ]]; do
    ((SECONDS < deadline)) || fail "not healthy within 60 s"
    sleep 0.2
  done
}

command -v jq >/dev/null || fail "jq is needed; scripts/install-test-deps.sh installs it"
start_own_cluster "$given_data"
wait_healthy
"$bin/bench" load --endpoint "http://127.0.0.1:$port" --clients 64 --operation put --size 512 --count "$versions"
listing >"$work/before"
bytes_of_sample "$work/before" >"$work/before-bytes"
echo "before: $(wc -l <"$work/before") files, $(wc -l <"$work/before-bytes") downloaded"

cluster kill coordinator --data "$data"
rm -rf -- "$data/coordinator"
nodes=()
for ((number = 1; number <= 4; number++)); do nodes+=(--node "http://127.0.0.1:$((port + number))"); done
"$bin/coordinator" restore-catalog --from-nodes --cluster-file "$data/cluster.json" --data "$data/coordinator" \
  "${nodes[@]}" --json >"$work/report"
jq . "$work/report"
cluster start coordinator --data "$data"
wait_healthy
listing >"$work/after"
bytes_of_sample "$work/after" >"$work/after-bytes"
cmp "$work/before" "$work/after" || fail "the listing is another one"
cmp "$work/before-bytes" "$work/after-bytes" || fail "bytes are other ones"
took=$(jq -r .seconds "$work/report")
awk -v took="$took" -v most="$seconds" 'BEGIN { exit !(took <= most) }' || fail "the restore took $took s, at most $seconds"
echo "restored identical in $took s: $(jq -r '"\(.versions) versions, \(.objects) objects, \(.chunks) chunks, \(.sequence) groups"' "$work/report")"
