#!/bin/bash
# knib from nothing to a restored disk, in one command. As root, on Debian, Ubuntu or Fedora, also a bare one.
#
#   examples/quickstart.sh [--yes] [--break]
#
#   --yes     installs a Rust toolchain, where one is missing or too old, without asking
#   --break   flips one byte of the restored disk before it is compared: the comparison must notice
#
# It installs what is missing, builds knib, makes a throwaway virtual machine, backs it up twice, restores it under
# another name, and compares. Everything it makes lies in one directory under /tmp and is removed at the end.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/host.sh
. "$root/tests/host.sh"

break=false
for argument; do
  shift
  if [ "$argument" = --break ]; then break=true; else set -- "$@" "$argument"; fi
done
need_root "$@"

install_packages
# shellcheck disable=SC2119  # building needs none of cargo's other commands
install_rust
build_guest
say "building knib"
(cd "$root" && cargo build --quiet)
PATH=$target/debug:$PATH
begin

vm=knib-quickstart
copy=knib-quickstart-restored
for name in $vm $copy; do
  ! virsh_ dominfo "$name" >/dev/null 2>&1 || die "there is a virtual machine called $name already: remove it first"
done
dir=$(mktemp -d /tmp/knib-quickstart.XXXXXX)

clean() {
  local name
  for name in $vm $copy; do
    virsh_ destroy "$name" >/dev/null 2>&1 || true
    virsh_ undefine "$name" >/dev/null 2>&1 || true
    rm -f "/var/log/libvirt/qemu/$name.log"
  done
  rm -rf "$dir"
}
trap 'clean; give_up' EXIT

# step TEXT: what happens next, for the reader.
step() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
# knib ARGUMENT..: runs knib in $dir, where its policy is, and shows the command.
knib() {
  printf '$ knib %s\n' "$*"
  (cd "$dir" && command knib "$@")
}
# agent COMMAND [ARGUMENTS]: asks the guest's agent, and prints its answer.
agent() {
  virsh_ qemu-agent-command --timeout 10 $vm "{\"execute\": \"$1\", \"arguments\": ${2:-{\}}}"
}
# guest COMMAND: runs a shell command in the guest, and prints what it printed.
guest() {
  local pid status
  printf '(guest) $ %s\n' "$1" >&2
  pid=$(agent guest-exec "{\"path\": \"/bin/sh\", \"arg\": [\"-c\", \"$1\"], \"capture-output\": true}" | grep -o '[0-9]\+')
  for _ in $(seq 600); do
    status=$(agent guest-exec-status "{\"pid\": $pid}")
    [[ $status == *'"exited":true'* ]] && break
    sleep 0.1
  done
  [[ $status == *'"exitcode":0'* ]] || die "in the guest failed: $1: $status"
  sed -n 's/.*"out-data":"\([^"]*\)".*/\1/p' <<<"$status" | base64 -d
}

step "A virtual machine with one disk, and a guest that writes to it"
chmod 755 "$dir"
mkdir "$dir/primary" "$dir/storage"
cp "$root/target/guest/vmlinuz" "$root/target/guest/initrd.gz" "$dir"
truncate -s 32M "$dir/raw"
mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$dir/raw"
qemu-img convert -f raw -O qcow2 "$dir/raw" "$dir/primary/vda.qcow2"
rm "$dir/raw"
cat >"$dir/vm.xml" <<END
<domain type='qemu'><name>$vm</name><memory unit='MiB'>192</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='q35'>hvm</type><kernel>$dir/vmlinuz</kernel><initrd>$dir/initrd.gz</initrd>
    <cmdline>console=ttyS0 quiet panic=-1</cmdline></os>
  <features><acpi/></features>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='$dir/primary/vda.qcow2'/>
      <target dev='vda' bus='virtio'/></disk>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <serial type='file'><source path='$dir/console'/></serial>
  </devices></domain>
END
virsh_ define "$dir/vm.xml"
virsh_ start $vm
for _ in $(seq 600); do
  agent guest-ping >/dev/null 2>&1 && break
  sleep 0.2
done
agent guest-ping >/dev/null || die "the guest did not boot: $(tail -n 5 "$dir/console")"
guest "head -c 4m /dev/urandom >/mnt/vda/first && sync && ls -l /mnt/vda"

step "The policy: which virtual machines get which backups, when, and where they go"
cat >"$dir/knib.yaml" <<END
version: 1
connect: qemu:///system
state: $dir/state.db
storage:
  here: { path: $dir/storage, minFree: 64MiB }
offerings:
  plain: { backupChainSize: 7 }
policies:
  quickstart:
    select: { names: [$vm] }
    offering: plain
    storage: here
    schedules:
      nightly: { cron: "0 2 * * *" }
END
cat "$dir/knib.yaml"

step "What knib would do; nothing is changed yet"
knib plan

step "Do it: the first backup of a virtual machine is a full one"
knib apply --auto-approve

step "The guest writes more, then holds still, and computes the checksum of its whole disk"
guest "head -c 1m /dev/urandom >/mnt/vda/second && rm /mnt/vda/first && sync && mount -o remount,ro /mnt/vda && sync"
sum=$(guest "blockdev --flushbufs /dev/vda && echo 3 >/proc/sys/vm/drop_caches && sha256sum /dev/vda" | cut -d' ' -f1)
echo "$sum"

step "The next backup is incremental: only what was written since"
knib backup run $vm

step "The guest goes on writing, so its disk is no longer the one in the backup"
guest "mount -o remount,rw /mnt/vda && head -c 1m /dev/urandom >/mnt/vda/third && sync"

step "The backups"
knib backup list

step "Restore the newest backup as a new virtual machine"
knib restore new $vm@latest --name $copy

step "Compare the restored disk, byte for byte, with what the guest had"
restored=$(virsh_ domblklist $copy | awk '$1 == "vda" {print $2}')
qemu-img convert -O raw "$restored" "$dir/restored.raw"
if $break; then
  position=$((16 * 1024 * 1024 + 1))
  byte=$(od -An -tu1 -j $position -N 1 "$dir/restored.raw")
  echo "--break: the byte at $position of the restored disk is flipped"
  qemu-io -f qcow2 -c "write -q -P $((byte ^ 255)) $position 1" "$restored"
  qemu-img convert -O raw "$restored" "$dir/restored.raw"
fi
restored_sum=$(sha256sum <"$dir/restored.raw" | cut -d' ' -f1)
printf '%s  the guest, at the backup\n%s  restored\n' "$sum" "$restored_sum"
verdict=0
[ "$restored_sum" = "$sum" ] || verdict=1

clean
trap give_up EXIT
end || die "leaves something behind"
if [ $verdict -eq 0 ]; then echo "identical"; else
  echo "different: the restored disk is not the disk that was backed up"
fi
exit $verdict
