#!/bin/bash
# Sets this machine up and runs every test. As root, on Debian, Ubuntu or Fedora, also a bare one.
#
#   tests/run.sh [--yes]      --yes: installs a Rust toolchain, where one is missing or too old, without asking
#   tests/run.sh --faults [--yes]   tries the tests instead: each deliberate fault, and the tests that fail for it
#
# The last line counts the tests: "N passed, N failed". A check around them that failed counts as a failed test. Exits 0
# only when nothing failed, nothing was ignored or filtered out, and the machine is left as it was found.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
# shellcheck source=tests/host.sh
. tests/host.sh
# shellcheck source=tests/faults.sh
. tests/faults.sh
mode=suite
if [ "${1:-}" = --faults ]; then
  mode=faults
  shift
fi
need_root "$@"

install_packages
install_rust clippy fmt
build_guest
build_appliance
begin
trap give_up EXIT

if [ "$mode" = faults ]; then
  seen=0
  faults || seen=$?
  end
  exit "$seen"
fi

# check NAME COMMAND..: runs a check, and notes its name when it fails.
failed=()
check() {
  local name=$1 since=$SECONDS
  shift
  say "== $name"
  if "$@"; then say "== $name: passed, $((SECONDS - since)) s"; else
    failed+=("$name")
    say "== $name: FAILED, $((SECONDS - since)) s"
  fi
}

# Every QEMU that libvirt starts is announced as an event; a test's own word for it would be worth less.
stdbuf -oL virsh -q -c qemu:///system event --loop --event lifecycle >"$scratch/events" 2>&1 &
listener=$!
qemu_starts() { grep -c "^event 'lifecycle' for domain 'knib-.*: Started" "$scratch/events"; }

# lints: everything that only reads the code; names what failed in a file of its own.
lints() {
  local failed=()
  check "lints" cargo clippy --all-targets -- -D warnings
  check "lints with test hooks" cargo clippy --all-targets --features test-hooks -- -D warnings
  check "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
  : >"$scratch/lints-failed"
  [ "${#failed[@]}" -eq 0 ] || printf '%s\n' "${failed[@]}" >"$scratch/lints-failed"
}

suite() {
  # No snapshot is accepted by the way, and nothing goes on after a failure unseen.
  # Most tests wait for libvirt, for QEMU and for the disk: several for each processor keep it busy.
  INSTA_UPDATE=no cargo test --no-fail-fast --features test-hooks -- --test-threads=$((6 * $(nproc))) 2>&1 |
    tee "$scratch/suite"
}

# count KIND: the sum of the numbers before that word in the suite's result lines.
count() {
  sed -n "s/^test result: .* \([0-9]*\) $1.*/\1/p" "$scratch/suite" | awk '{sum += $1} END {print sum + 0}'
}

everything_ran() {
  local kind
  for kind in ignored 'filtered out'; do
    [ "$(count "$kind")" -eq 0 ] || { say "$(count "$kind") tests were $kind" && return 1; }
  done
  [ "$(count passed)" -gt 0 ] && [ "$(qemu_starts)" -gt 0 ]
}

# Names that only the tests' build may know. That build must know them, or this check looks for the wrong ones.
no_hooks_without_the_feature() {
  local hook
  for hook in KNIB_CRASH_AT KNIB_NOW KNIB_IDS KNIB_AGAIN KNIB_FAULT; do
    strings -a "$scratch/hooked" | grep "$hook" >/dev/null || { say "the tests' build has no $hook" && return 1; }
    ! strings -a "$target/debug/knib" | grep "$hook" || { say "knib has $hook" && return 1; }
  done
}

# The comparison must be what fails, not something on the way to it.
break_is_noticed() {
  if examples/quickstart.sh --break >"$scratch/break" 2>&1; then
    say "quickstart.sh --break did not fail"
    return 1
  fi
  cat "$scratch/break"
  [ "$(tail -n 1 "$scratch/break")" = "different: the restored disk is not the disk that was backed up" ]
}

check "format" cargo fmt --check
check "build" cargo test --no-run --features test-hooks
# Tests that wait leave the processors to the lints, which make no program that a test runs.
{ renice -n 10 $BASHPID && lints; } >"$scratch/lints" 2>&1 &
linting=$!
check "tests" suite
wait "$linting"
cat "$scratch/lints" >&2
mapfile -t -O "${#failed[@]}" failed <"$scratch/lints-failed"
check "every test ran" everything_ran
cp "$target/debug/knib" "$scratch/hooked" || true # quickstart builds the one without them
check "quickstart" examples/quickstart.sh
check "quickstart --break" break_is_noticed
check "no test hooks without the feature" no_hooks_without_the_feature

kill "$listener"
wait "$listener" 2>/dev/null || true
passed=$(count passed)
failures=$(count failed)
starts=$(qemu_starts)
check "the machine is as it was found" end

for name in "${failed[@]}"; do
  # The suite's own failures are in its count already, unless it did not even build.
  [ "$name" = tests ] && [ "$failures" -gt 0 ] && continue
  failures=$((failures + 1))
done
echo "QEMU was started $starts times; all took $((SECONDS / 60)) min $((SECONDS % 60)) s"
echo "failed checks: $(IFS=,; echo "${failed[*]:-none}")"
echo "$passed passed, $failures failed"
[ "$failures" -eq 0 ]
