# shellcheck shell=bash
# The deliberate faults of src/sabotage.rs, and tests each of which has to see one. Sourced by tests/run.sh.

the_faults() {
  cat <<'TABLE'
MergeBeforeCopies crash::singles::incremental
ZeroesDropped live::layers::zeroes_and_discards host::convert
ParentByTime planner::kinds
FailureHidesChild live::deletion::a_failed_attempt
NoSync crash::singles::incremental
DigestIgnored live::restore::a_flipped_byte
DeltaUnlinked crash::singles::finish_off
LeaseIgnored lease_cells crate_docs
OneDiskMerged crash::singles::end_of_chain
ThawForgotten crash::singles::frozen
HalfCopyKept crash::singles::first
MarkAfterEffect crash::singles::quick crash::singles::snapshot_create
OldDiskFirst crash::singles::in_place
BackingStoreKept live::races::a_leftover crash::old_xml host::define
OwnerIgnored live::since::another_owner
TABLE
}

# Prints which tests fail for each fault. Fails when none does for one, or when one is not tried.
faults() {
  local fault tests seen blind=0
  cargo test --features test-hooks --no-run || return 1
  printf '%-18s %s\n' fault 'tests that fail'
  while read -r fault tests; do
    grep -q "^    $fault,$" src/sabotage.rs || { say "there is no fault $fault" && blind=1; }
    # shellcheck disable=SC2086
    seen=$(KNIB_FAULT=$fault INSTA_UPDATE=no cargo test --features test-hooks --test main -- $tests 2>/dev/null </dev/null |
      sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' | sort)
    [ -n "$seen" ] || blind=1
    # shellcheck disable=SC2086
    printf '%-18s %s\n' "$fault" "$(echo ${seen:-NONE})"
  done < <(the_faults)
  for fault in $(sed -n 's/^    \([A-Z][A-Za-z]*\),$/\1/p' src/sabotage.rs); do
    the_faults | grep -q "^$fault " || { say "$fault is not tried" && blind=1; }
  done
  return "$blind"
}
