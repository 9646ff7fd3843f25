# shellcheck shell=bash
# What tests/run.sh and examples/quickstart.sh share: makes a machine ready and proves that it was left as it was found.
# Sourced, with `set -euo pipefail`, by a script that is run as root. Needs $root, the checkout.

export LC_ALL=C.UTF-8
unset TMPDIR # what is temporary goes to /tmp, which is looked at before and after
target=${CARGO_TARGET_DIR:-$root/target}

say() { printf '%s\n' "$*" >&2; }
die() {
  say "$(basename "$0"): $*"
  exit 1
}

# need_root [--yes]: checks who runs this, and whether questions may be asked.
need_root() {
  yes=false
  case "${1:-}" in --yes) yes=true ;; ?*) die "unknown argument $1" ;; esac
  [ "$(id -u)" -eq 0 ] || die "libvirt's system daemon and its disks are root's: run it as root"
}

## Packages ---------------------------------------------------------------------------------------------------------

# refresh_packages: brings the package lists up to date, once a run.
refresh_packages() {
  [ -z "${refreshed:-}" ] || return 0
  refreshed=yes
  if command -v apt-get >/dev/null; then
    apt-get update -qq >&2 || say "some package lists could not be updated; going on with the old ones"
  fi
}

# add_packages NAME..: installs these, if any.
add_packages() {
  [ $# -gt 0 ] || return 0
  say "installing: $*"
  refresh_packages
  if command -v apt-get >/dev/null; then
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Use-Pty=0 --no-install-recommends "$@" >&2
  else
    dnf install -y -q --setopt=install_weak_deps=False "$@" >&2
  fi
}

# missing: reads lines "TEST | apt packages | dnf packages" and prints the packages whose test fails here.
missing() {
  local test apt dnf
  while IFS='|' read -r test apt dnf; do
    eval "$test" >/dev/null 2>&1 && continue
    if command -v apt-get >/dev/null; then echo "$apt"; else echo "$dnf"; fi
  done
}

# has_driver NAME: whether libvirt's driver of that name is here.
has_driver() {
  local dir
  for dir in /usr/lib/libvirt /usr/lib64/libvirt /usr/lib/*/libvirt; do
    [ -e "$dir/connection-driver/libvirt_driver_$1.so" ] && return
  done
  return 1
}

install_packages() {
  local names
  command -v apt-get >/dev/null || command -v dnf >/dev/null || die "knows only apt and dnf: install the packages named in tests/host.sh"
  # shellcheck disable=SC2046  # one word a package
  add_packages $(missing <<'END'
command -v libvirtd && command -v virtlogd | libvirt-daemon-system libvirt-daemon-driver-qemu | libvirt-daemon libvirt-daemon-log libvirt-daemon-driver-qemu
command -v swtpm && command -v swtpm_setup | swtpm swtpm-tools                               | swtpm swtpm-tools
command -v virsh                           | libvirt-clients                                  | libvirt-client
command -v qemu-system-x86_64              | qemu-system-x86                                  | qemu-system-x86-core
pkg-config --exists libvirt                | libvirt-dev pkg-config                           | libvirt-devel pkgconf-pkg-config
command -v cc && [ -e /usr/include/stdio.h ] | gcc libc6-dev                                  | gcc glibc-devel
command -v strings                         | binutils                                         | binutils
command -v mkfs.ext4                       | e2fsprogs                                        | e2fsprogs
command -v cpio                            | cpio                                             | cpio
command -v mkfs.xfs                        | xfsprogs                                         | xfsprogs
command -v setfattr                        | attr                                             | attr
command -v cryptsetup                      | cryptsetup-bin                                   | cryptsetup
command -v kill && command -v pgrep        | procps                                           | procps-ng
command -v script                          | bsdutils                                         | util-linux-script util-linux
command -v setpriv                         | util-linux                                       | util-linux
command -v xz && command -v zstd           | xz-utils zstd                                    | xz zstd
! command -v dnf || dnf download --help    |                                                  | dnf-plugins-core
END
  )
  # libguestfs's appliance boots a kernel of this machine's; a container has none.
  if [ -z "$(find /boot /lib/modules -maxdepth 2 -name 'vmlinuz*' -print -quit 2>/dev/null)" ]; then
    names="kernel-core kernel-modules-core"
    if command -v apt-get >/dev/null; then
      refresh_packages
      names=linux-image-cloud-amd64
      apt-cache show "$names" >/dev/null 2>&1 || names=linux-image-virtual
    fi
    # shellcheck disable=SC2086
    add_packages $names
  fi
  # What a machine already has of a newer qemu-img goes for its hypervisor's packages, but not in one command with what
  # needs a qemu-img. Debian 12 has these drivers in the daemon's own package and none of these names.
  # shellcheck disable=SC2046
  add_packages $(missing <<'END'
command -v qemu-img && command -v qemu-io | qemu-utils | qemu-img
command -v guestfish | guestfish libguestfs-xfs | libguestfs libguestfs-xfs
has_driver network | libvirt-daemon-driver-network | libvirt-daemon-driver-network
has_driver storage | libvirt-daemon-driver-storage | libvirt-daemon-driver-storage-core
END
  )
}

# build_guest: makes the tests' guest under target/guest, where the tests look for it.
build_guest() {
  [ -s "$root/target/guest/initrd.gz" ] || refresh_packages
  "$root/tests/guest/build.sh" "$root/target/guest"
}

# build_appliance: makes libguestfs's appliance under target/appliance, where the tests look for it.
build_appliance() {
  mkdir -p "$root/target/appliance"
  echo run | LIBGUESTFS_BACKEND=direct LIBGUESTFS_BACKEND_SETTINGS=force_tcg \
    LIBGUESTFS_CACHEDIR="$root/target/appliance" guestfish -a /dev/null >&2 ||
    die "libguestfs does not start: see libguestfs-test-tool"
}

## Rust -------------------------------------------------------------------------------------------------------------

# rust_is_fine [COMMAND..]: whether the toolchain is new enough and has these commands of cargo.
rust_is_fine() {
  local wanted have command
  wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$root/Cargo.toml")
  have=$(rustc --version 2>/dev/null | cut -d' ' -f2) || return 1
  [ "$(printf '%s\n' "$wanted" "$have" | sort -V | head -n 1)" = "$wanted" ] || return 1
  cargo --version >/dev/null 2>&1 || return 1
  for command in "$@"; do cargo "$command" --version >/dev/null 2>&1 || return 1; done
}

# install_rust [COMMAND..]: installs a toolchain with rustup when there is none that will do.
install_rust() {
  PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
  rust_is_fine "$@" && return
  if ! $yes; then
    [ -t 0 ] || die "no Rust toolchain that will do (Cargo.toml names the oldest): --yes installs one with rustup"
    read -r -p "Install a Rust toolchain with rustup into $HOME? [y/N] " answer
    case "$answer" in y | Y | yes) ;; *) die "no Rust toolchain" ;; esac
  fi
  if command -v rustup >/dev/null; then
    rustup toolchain install stable --profile minimal --component clippy --component rustfmt >&2 ||
      die "rustup could not install a newer Rust toolchain"
  else
    command -v curl >/dev/null || add_packages curl ca-certificates
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
      sh -s -- -y --no-modify-path --profile minimal --component clippy --component rustfmt >&2 ||
      die "rustup could not install a Rust toolchain: install one by hand (Cargo.toml names the oldest that will do)"
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
  fi
  export RUSTUP_TOOLCHAIN=stable
  hash -r
  rust_is_fine "$@" || die "the installed Rust toolchain is not the one that is found first in PATH"
}

## The daemon -------------------------------------------------------------------------------------------------------

virsh_() { virsh -q -c qemu:///system "$@"; }

answers() { virsh_ uri >/dev/null 2>&1; }

# start_daemon NAME: starts it unless it runs; what was started is ended by stop_libvirt.
start_daemon() {
  local pid
  pid=$(cat "/run/$1.pid" 2>/dev/null) && [ -d "/proc/$pid" ] && return
  "$1" -d
  started=("$(cat "/run/$1.pid")" "${started[@]}")
}

# open_kvm: lets QEMU's user open /dev/kvm where nobody did. Otherwise libvirt sees KVM as root, not as that user, and
# asks QEMU for its capabilities again before everything it does: 4 s each time. The tests' VMs are emulated all the same.
open_kvm() {
  local user
  [ -e /dev/kvm ] || return 0
  for user in libvirt-qemu qemu; do
    id "$user" >/dev/null 2>&1 || continue
    runuser -u "$user" -- test -w /dev/kvm && return
    kvm_was=$(stat -c '%a %u:%g' /dev/kvm)
    chgrp "$(id -g "$user")" /dev/kvm && chmod g+rw /dev/kvm
    return
  done
}

close_kvm() {
  [ "${kvm_was:-}" ] || return 0
  chown "${kvm_was#* }" /dev/kvm && chmod "${kvm_was% *}" /dev/kvm
  kvm_was=
}

# start_libvirt: makes the system daemon answer, and keeps in $started the process ids of what had to be started for that.
start_libvirt() {
  started=()
  answers && return
  open_kvm
  start_daemon virtlogd
  start_daemon libvirtd
  for _ in $(seq 100); do
    answers && return
    sleep 0.1
  done
  die "the libvirt daemon does not answer: see /var/log/libvirt/libvirtd.log"
}

# stop_libvirt: ends the daemons that start_libvirt started, the networks that they brought up, and the files that they
# wrote at their start.
stop_libvirt() {
  local pid network bridge path
  [ "${#started[@]}" -gt 0 ] || return 0
  for network in $(virsh_ net-list --name 2>/dev/null); do
    bridge=$(virsh_ net-info "$network" | awk '$1 == "Bridge:" {print $2}')
    grep -qx "interface /sys/class/net/$bridge" "$scratch/before" || virsh_ net-destroy "$network" >&2
  done
  for pid in "${started[@]}"; do
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 300); do
      [ -d "/proc/$pid" ] || break
      sleep 0.1
    done
  done
  started=()
  close_kvm
  comm -13 "$scratch/before" "$scratch/before-with-libvirt" | sed -n 's/^file //p' | sort -r |
    while read -r path; do rm -f "$path" 2>/dev/null || rmdir "$path" 2>/dev/null || true; done
}

## What is on this machine ------------------------------------------------------------------------------------------

# inventory: prints what a run could leave behind, a line each, sorted.
inventory() {
  local running
  running=$(processes) # before this function has children of its own
  {
    # Services of the system write below these by themselves.
    find /run /var/lib/libvirt /etc/libvirt /var/log/libvirt/qemu -xdev \
      \( -path /run/systemd -o -path /run/udev -o -path /run/user -o -path /run/log -o -path /run/mount \) \
      -prune -o -printf 'file %p\n' 2>/dev/null || true
    # A directory that was there before is its maker's; a run's own are new.
    find /tmp /var/tmp -maxdepth 1 ! -path "$scratch" ! -path '/*tmp/systemd-private-*' -printf 'file %p\n'
    # A tool's leftovers begin near the top of $HOME. Deeper down, running programs change theirs all the time.
    find "$HOME" -xdev \( -path "$target" -o -path "${CARGO_HOME:-$HOME/.cargo}" -o -path "${RUSTUP_HOME:-$HOME/.rustup}" \) \
      -prune -o \( -path "$HOME/*/*/*/*" ! -path '*libvirt*' ! -path '*knib*' ! -path '*qemu*' -prune \) \
      -o -printf 'file %p\n' 2>/dev/null || true
    awk '$2 !~ "^/run/(user|systemd|credentials)" {print "mount", $2, $3}' /proc/self/mounts
    printf 'interface %s\n' /sys/class/net/*
    [ -z "$running" ] || echo "$running"
    if answers; then
      virsh_ list --all --name | sed '/./!d; s/^/domain /'
      virsh_ net-list --all --name | sed '/./!d; s/^/network /'
      virsh_ pool-list --all --name | sed '/./!d; s/^/pool /'
    fi
  } | sort -u
}

# processes: those that this run could have started: they carry its mark, or are of the hypervisor's kind. Daemons that
# the service manager started are its own.
processes() {
  local process name
  for process in /proc/[0-9]*; do
    { read -r name <"$process/comm"; } 2>/dev/null || continue
    [ -e "$process/exe" ] || continue
    grep -qs '/\(libvirtd\|virt[a-z]*d\)\.service' "$process/cgroup" && continue
    case "$name" in
    qemu* | knib | virsh | libvirtd | virt*d | dnsmasq | swtpm | guestf* | guestmount | supermin | nbdkit) ;;
    *) grep -qsaz "^KNIB_TEST_RUN=$scratch" "$process/environ" || continue ;;
    esac
    echo "process ${process#/proc/} $name"
  done
}

# same_as BEFORE AFTER: prints the differences between two inventories, and fails when there are any.
same_as() {
  local differences
  # A process that was there before may end at any time, and a daemon takes over and removes at its end what one that was
  # killed had left in /run.
  differences=$(comm -3 "$1" "$2" | sed 's/^\t/left behind: /; t; s/^/gone: /' |
    grep -Ev '^gone: (process|file /run/(libvirt/.*(-sock|-sock-ro|\.pid)|(libvirt|virtlog)d\.pid)$)' || true)
  [ -z "$differences" ] || {
    say "this machine was not left as it was found:"
    say "$differences"
    return 1
  }
}

# begin: the inventories before; everything that is installed is there by now.
begin() {
  scratch=$(mktemp -d /tmp/knib-run.XXXXXX)
  export KNIB_TEST_RUN=$scratch
  inventory | tee "$scratch/before-with-libvirt" >"$scratch/before"
  start_libvirt
  inventory >"$scratch/before-with-libvirt"
}

# end: compares; stops what begin started and removes what that wrote at its start; compares again.
end() {
  local clean=0
  inventory >"$scratch/after-with-libvirt"
  same_as "$scratch/before-with-libvirt" "$scratch/after-with-libvirt" || clean=1
  if [ "${#started[@]}" -gt 0 ]; then
    stop_libvirt
    inventory >"$scratch/after"
    same_as "$scratch/before" "$scratch/after" || clean=1
  fi
  rm -rf "$scratch"
  scratch=
  return "$clean"
}

# give_up: for a trap on EXIT: takes away what a script that ended early has left.
give_up() {
  local kind name
  [ "${scratch:-}" ] || return 0
  inventory | comm -13 "$scratch/before-with-libvirt" - | while read -r kind name _; do
    case "$kind $name" in
    "domain knib-"*)
      virsh_ destroy "$name" || true
      virsh_ undefine "$name" --nvram --managed-save --snapshots-metadata --checkpoints-metadata || true
      rm -f "/var/log/libvirt/qemu/$name.log"
      ;;
    "mount /tmp/knib-"*) umount -l "$name" || true ;;
    esac
  done >/dev/null 2>&1
  inventory | comm -13 "$scratch/before-with-libvirt" - | sed -n 's|^file \(/tmp/knib-[^/]*\)$|\1|p' |
    while read -r name; do rm -rf --one-file-system "$name"; done
  stop_libvirt
  rm -rf "$scratch"
}
