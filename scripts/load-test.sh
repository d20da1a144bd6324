#!/usr/bin/env bash
# The load test of contract A17, on a cluster of its own: normal load, stress, injected errors, server failures.
#
# What it keeps true:
# - Every download is compared with what was uploaded; a scenario fails on any answer that is not as promised.
# - One node down fails no request. With the coordinator down requests do fail; afterwards none does.
# shellcheck disable=SC2317 # the loads are called by name, through judge
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/load-test.sh [OPTIONS] [SCENARIO …]

  normal            5 users upload and download
  stress            10 users
  errors            10 users; 20 % of the requests are wrong and must be refused, the others must not notice
  failures          10 users; a node is killed and comes back, another is stopped and comes back, then the coordinator
                    is killed and comes back
  (none named)      all of them

  --seconds S       how long each load lasts                                            (15)
  --data DIR        where the cluster keeps its data: empty or not there; removed afterwards   (./data-own-…)

HOLDFAST_BIN_DIR=DIR takes the programs from DIR instead of building them.
TEXT
}

# shellcheck source=scripts/own-cluster.sh
source "$(dirname "${BASH_SOURCE[0]}")/own-cluster.sh"

seconds=15 given_data='' scenarios=()
while [[ $# -gt 0 ]]; do
  case $1 in
    normal | stress | errors | failures) scenarios+=("$1") ;;
    --seconds | --data)
      [[ $# -ge 2 ]] || fail "$1 needs a value"
      if [[ $1 == --data ]]; then given_data=$2; else seconds=$2; fi
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown option or scenario $1; \`scripts/load-test.sh --help\` lists them" ;;
  esac
  shift
done
[[ $seconds =~ ^[1-9][0-9]{0,3}$ ]] || fail "--seconds $seconds: must be a number from 1 to 9999"
((${#scenarios[@]} > 0)) || scenarios=(normal stress errors failures)

healthy_s_max=90 # a node that came back is seen by the next probe, at most 30 s later
report=()
failed=0

# ---- loads --------------------------------------------------------------------------------------------------------------

users() { # number, further arguments of bench load
  local number=$1
  shift
  "$bin/bench" load --endpoint "http://127.0.0.1:$port" --run-dir "$data/run" --clients "$number" --operation mixed \
    --size 4KiB,64KiB,1MiB --seconds "$seconds" "$@"
}

# Runs a load and notes its verdict.
judge() { # title, command
  local title=$1 verdict=passed
  shift
  printf '\n== %s\n' "$title"
  "$@" || { verdict=FAILED; failed=1; }
  report+=("$(printf '%-60s %s' "$title" "$verdict")")
}

wait_healthy() {
  local deadline=$((SECONDS + healthy_s_max)) answer=''
  until [[ $answer =~ \"status\":\ *\"healthy\" ]]; do
    ((SECONDS < deadline)) || { echo "not healthy within $healthy_s_max s: $answer"; return 1; }
    answer=$(curl -s --noproxy '*' -m 2 "http://127.0.0.1:$port/system/health" || true)
    sleep 0.5
  done
}

# A load during which a process goes at a third of the time and comes back at two thirds.
load_while() { # kill|stop, process, further arguments of bench load
  local how=$1 who=$2 load
  shift 2
  users 10 "$@" &
  load=$!
  sleep $((seconds / 3 + 1))
  cluster "$how" "$who" --data "$data"
  sleep $((seconds / 3))
  cluster start "$who" --data "$data"
  wait "$load"
}

failures() {
  judge "failures: node 2 killed and started" load_while kill 2
  judge "failures: healthy again" wait_healthy
  judge "failures: node 3 stopped and started" load_while stop 3
  judge "failures: healthy again" wait_healthy
  judge "failures: coordinator killed and started (errors meanwhile)" load_while kill coordinator --errors-max 1000000000
  judge "failures: afterwards" users 10
}

start_own_cluster "$given_data"
for scenario in "${scenarios[@]}"; do
  case $scenario in
    normal) judge "normal: 5 users" users 5 ;;
    stress) judge "stress: 10 users" users 10 ;;
    errors) judge "errors: 10 users, 20 % of the requests wrong" users 10 --bad-percent 20 ;;
    failures) failures ;;
  esac
done
printf '\n'
printf '%s\n' "${report[@]}"
exit "$failed"
