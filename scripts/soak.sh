#!/usr/bin/env bash
# The long runs of what check.sh runs briefly: storms, crash states, kills, power cuts, chaos. Hours, not minutes.
#
# What it keeps true:
# - What is done is noted in the log's directory; started again with the same directory it goes on where it was, at the seed.
# - A part that fails is told and kept, and the others go on; the exit code is 1 if any failed.
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/soak.sh [OPTIONS] [PART …]

  storms        simulated clusters, one seed each
  crashes       states of the log after a crash
  kills         kill -9 of real processes under load
  cuts          power cuts of real processes under load (loop-mounted ext4: needs root)
  chaos         scripts/chaos.sh, a seed at a time
  (none named)  all of them

  --log DIR             what was said, and what is done       (./data-soak)
  --storm-seeds N       (1000000)     --crash-states N   (5000000)
  --kills N             (200)         --power-cuts N     (50)
  --chaos-seeds N       (100)         --chaos-minutes M  (5)
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
fail() { echo "soak.sh: $*" >&2; exit 2; }

log=./data-soak storm_seeds=1000000 crash_states=5000000 kills=200 power_cuts=50 chaos_seeds=100 chaos_minutes=5
parts=()
while [[ $# -gt 0 ]]; do
  case $1 in
    storms | crashes | kills | cuts | chaos) parts+=("$1") ;;
    --log | --storm-seeds | --crash-states | --kills | --power-cuts | --chaos-seeds | --chaos-minutes)
      [[ $# -ge 2 ]] || fail "$1 needs a value"
      [[ $1 == --log || $2 =~ ^[0-9.]+$ ]] || fail "$1 $2: must be a number"
      name=${1#--}
      printf -v "${name//-/_}" '%s' "$2"
      shift
      ;;
    -h | --help) usage; exit 0 ;;
    *) fail "unknown option or part $1; \`scripts/soak.sh --help\` lists them" ;;
  esac
  shift
done
((${#parts[@]} > 0)) || parts=(storms crashes kills cuts chaos)
mkdir -p "$log"
log=$(cd "$log" && pwd)
cd "$root"
failed=0

note() { printf '%s %s\n' "$(date -u +%FT%TZ)" "$*" | tee -a "$log/soak.log"; }

# Runs one piece of work, unless it is done already; what it says goes to a file of its own.
once() { # name command …
  local name=$1
  shift
  if [[ -f $log/$name.done ]]; then
    note "$name: done before"
    return
  fi
  note "$name: begins"
  local begun=$SECONDS
  if "$@" >"$log/$name.log" 2>&1; then
    touch "$log/$name.done"
    note "$name: good, $((SECONDS - begun)) s: $(grep -E '^(skipped: |seed [0-9]+: |test result: ok)' "$log/$name.log" | tail -n 1 || true)"
  else
    failed=1
    note "$name: FAILED after $((SECONDS - begun)) s: $log/$name.log"
  fi
}

tests() { # package test filter
  cargo test --release --locked -p "$1" --test "$2" "${@:3}" -- --show-output
}

note "building"
cargo build --release --locked -p coordinator -p storage-node -p testing --bins >>"$log/build.log" 2>&1 || fail "the build failed: $log/build.log"
export HOLDFAST_BIN_DIR=${CARGO_TARGET_DIR:-$root/target}/release

for part in "${parts[@]}"; do
  case $part in
    storms) once "storms-$storm_seeds" env HOLDFAST_STORM_SEEDS="$storm_seeds" bash -c "$(declare -f tests); tests testing storm" ;;
    crashes) once "crashes-$crash_states" env HOLDFAST_CRASH_STATES="$crash_states" bash -c "$(declare -f tests); tests segments crash" ;;
    kills) once "kills-$kills" env HOLDFAST_KILLS="$kills" bash -c "$(declare -f tests); tests testing real_faults kills_without_end" ;;
    cuts) once "cuts-$power_cuts" env HOLDFAST_POWER_CUTS="$power_cuts" bash -c "$(declare -f tests); tests testing real_faults power_cuts" ;;
    chaos)
      for ((seed = 1; seed <= chaos_seeds; seed++)); do
        once "chaos-$seed-$chaos_minutes" "$HOLDFAST_BIN_DIR/chaos" --seeds "$root/testing/chaos-seeds.txt" --no-replay \
          --seed "$seed" --minutes "$chaos_minutes"
      done
      ;;
  esac
done
note "all parts are through; failed: $failed"
exit "$failed"
