#!/bin/sh
# Plans or applies the policy in policies/ on the hypervisor, through ssh.
#
#   on-host.sh plan    writes plan.json and plan.md here
#   on-host.sh apply   applies what is on the branch; what wants a human (exit 3) fails the job
#
# KNIB_HOST     user@host
# KNIB_SSH      how to get there [ssh, with KNIB_SSH_KEY and KNIB_KNOWN_HOSTS]
# KNIB_POLICY   the policy: a file or a directory [policies]
set -eu

policy=${KNIB_POLICY:-policies}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -z "${KNIB_SSH:-}" ]; then
    umask 077
    printf '%s\n' "$KNIB_SSH_KEY" > "$work/key"
    printf '%s\n' "$KNIB_KNOWN_HOSTS" > "$work/known_hosts"
    KNIB_SSH="ssh -i $work/key -o UserKnownHostsFile=$work/known_hosts -o BatchMode=yes"
fi

# One policy on stdin: the host keeps nothing, and what is checked in is what is planned.
on_host() {
    # shellcheck disable=SC2086
    tar -C "$policy" -cf - . | $KNIB_SSH "$KNIB_HOST" \
        'dir=$(mktemp -d) && trap "rm -rf $dir" EXIT && tar -C "$dir" -xf - && sudo knib -f "$dir" '"$*"
}

case ${1:-} in
    plan)
        on_host plan --format json > plan.json
        on_host plan --format markdown > plan.md
        ;;
    apply)
        on_host apply --auto-approve
        ;;
    *)
        echo "usage: on-host.sh plan|apply" >&2
        exit 64
        ;;
esac
