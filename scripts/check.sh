#!/usr/bin/env bash
# The one door: everything that must hold before a change is accepted. Under 35 minutes on two cores from a clean clone.
# Its last line sums up the tests: "N passed, N failed, N skipped".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ -n ${CI:-} ]]; then
  export CARGO_INCREMENTAL=0 # nothing is built twice there
fi
target_dir=${CARGO_TARGET_DIR:-$PWD/target}
test_log=$target_dir/check-tests.log

step() { printf '\n== %s (at %d s)\n' "$1" "$SECONDS"; }

check_shell() {
  local scripts=()
  mapfile -t scripts < <(grep -rlE '^#!.*\b(ba)?sh\b' scripts .ci ./*.sh 2>/dev/null)
  local script
  for script in "${scripts[@]}"; do
    bash -n "$script"
  done
  if command -v shellcheck >/dev/null; then
    shellcheck "${scripts[@]}"
  fi
}

# Runs all tests, with the output of those that pass too: a test that cannot run here prints "skipped: <name>: <why>".
run_tests() {
  # The process tests start the release binaries, as cluster.sh does.
  HOLDFAST_BIN_DIR=$target_dir/release cargo test --workspace --locked --no-fail-fast -- --show-output >"$test_log" 2>&1
}

# Ten thousand storms; optimised, because debug builds make a fifth as many in the same time. Those of the tests have its checks of arithmetic.
run_storms() {
  HOLDFAST_STORM_SEEDS=10000 cargo test --release --locked -p testing --test storm -- --show-output >>"$test_log" 2>&1
}

# Sums the summaries of all test binaries. libtest takes a test that printed "skipped:" for passed.
summarise_tests() {
  local skipped
  skipped=$(grep -cE '^skipped: ' "$test_log" || true)
  awk -v skipped="$skipped" '
    /^test result: / {
      for (i = 2; i <= NF; i++) {
        if ($i ~ /^passed/) passed += $(i - 1)
        if ($i ~ /^failed/) failed += $(i - 1)
        if ($i ~ /^ignored/) ignored += $(i - 1)
      }
    }
    END { printf "%d passed, %d failed, %d skipped\n", passed - skipped, failed, ignored + skipped }
  ' "$test_log"
}

step "what tests need"
./scripts/install-test-deps.sh || echo "going on without; tests that need them say that they are skipped"

step "format"
cargo fmt --all --check

step "shell scripts"
check_shell

step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings

step "documentation"
# Written for those who work on the code: private items are documented too, and may be linked to.
RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --workspace --no-deps --document-private-items --locked

step "dependencies"
if command -v cargo-deny >/dev/null; then
  cargo deny --offline check bans licenses sources
else
  echo "cargo-deny is not installed: licences and bans not checked"
fi

step "release binaries"
cargo build --release --locked -p coordinator -p storage-node

step "tests"
cargo test --workspace --locked --no-run --quiet
tests_failed=0
run_tests || tests_failed=1
step "storms"
run_storms || tests_failed=1
if [[ $tests_failed -ne 0 ]]; then
  # What failed, and the beginning of what each said; not the output of the hundreds that passed.
  grep -E '^test .* \.\.\. FAILED$|^error' "$test_log" || true
  awk '
    /^failures:$/ { shown = 1 }
    /^test result: / { shown = 0 }
    /^---- .* stdout ----$/ { lines = 0 }
    shown && lines++ < 100 { print substr($0, 1, 500) }
  ' "$test_log"
  echo "the whole output is in $test_log"
fi
grep -E '^(     Running|   Doc-tests) |^test result: ' "$test_log" || true
grep -E '^skipped: ' "$test_log" | sort | uniq -c || true
printf 'checked in %d s\n' "$SECONDS"
summarise_tests
exit "$tests_failed"
