#!/bin/bash
# Builds the tests' guest: a distribution kernel, busybox and the QEMU guest agent in an initramfs. No root, no mounts.
#
#   tests/guest/build.sh DIR     makes DIR/vmlinuz and DIR/initrd.gz, whole or not at all; does nothing when both are there
#
# The packages are downloaded and unpacked, never installed. The agent's libraries are those of this machine: they are
# the ones that QEMU itself needs here, so QEMU must be installed first.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
out=$(mkdir -p "$1" && cd "$1" && pwd)
exec 9>"$out/.lock" && flock 9
[ -s "$out/vmlinuz" ] && [ -s "$out/initrd.gz" ] && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work" "$out"/*.new' EXIT
cd "$work"
umask 022

fail() {
  echo "tests/guest: $*" >&2
  exit 1
}

# Runs a package tool quietly; what it said is shown only when it failed.
quiet() {
  "$@" >log 2>&1 || { cat log >&2; fail "'$*' failed (with old package lists: apt-get update)"; }
}

unpack_debs() {
  local meta=linux-image-cloud-amd64 image
  apt-cache show "$meta" >/dev/null 2>&1 || meta=linux-image-virtual
  depends() { apt-cache depends --no-recommends --no-suggests "$1" | awk '$1 == "Depends:" {print $2}' | grep "$2" || true; }
  image=$(depends "$meta" '^linux-image-[0-9]' | head -n 1)
  [ "$image" ] || fail "no package lists: run apt-get update"
  # shellcheck disable=SC2046  # one word a package
  quiet apt-get download "$image" $(depends "$image" '^linux-modules-[0-9]') busybox-static qemu-guest-agent
  for deb in *.deb; do dpkg -x "$deb" x; done
}

unpack_rpms() {
  quiet dnf download --destdir . kernel-core kernel-modules-core busybox qemu-guest-agent
  for rpm in *.rpm; do (mkdir -p x && cd x && rpm2cpio "../$rpm" | cpio -idm --quiet); done
}

if command -v dpkg >/dev/null && command -v apt-get >/dev/null; then unpack_debs; else unpack_rpms; fi

# find_one NAME: the one file of that name among the unpacked packages.
find_one() { find x -type f -path "*$1" | sort | head -n 1 | grep . || fail "the packages hold no $1"; }
busybox=$(find_one bin/busybox)
agent=$(find_one bin/qemu-ga)
builtin=$(find_one /modules.builtin)
modules=$(dirname "$builtin")
kernel=$(basename "$modules")

mkdir -p ir/{bin,sbin,proc,sys,dev,run,tmp,mnt,modules}
install -m 755 "$busybox" ir/bin/busybox
install -m 755 "$agent" ir/sbin/qemu-ga
install -m 755 "$here/init" ir/init
install -m 755 "$here/shutdown" ir/sbin/shutdown
install -m 755 "$here/fsfreeze-hook" ir/sbin/fsfreeze-hook

# The agent's libraries, at the paths where its loader looks for them.
libraries=$(ldd "$agent") || fail "this machine cannot load $agent"
case $libraries in *"not found"*) fail "the agent needs libraries that are not installed here:"$'\n'"$libraries" ;; esac
for library in $(awk '$2 == "=>" {print $3; next} $1 ~ /^\// {print $1}' <<<"$libraries"); do
  install -D -m 755 "$(realpath "$library")" "ir$library"
done

# The drivers and what they need, named in loading order. Some kernels have them built in.
find "$modules" -name '*.ko.xz' -exec xz -d {} + -o -name '*.ko.zst' -exec zstd -q -d --rm {} +
mkdir -p depmod/lib/modules && ln -s "$work/$modules" "depmod/lib/modules/$kernel"
rm -f "$modules/modules.dep" && "$busybox" depmod -b "$work/depmod" "$kernel"
for driver in virtio_pci virtio_blk virtio_console ext4; do
  line=$(grep "/$driver\.ko:" "$modules/modules.dep" || true)
  if [ -z "$line" ]; then
    grep -q "/$driver\.ko" "$builtin" || fail "kernel $kernel has no driver $driver"
    continue
  fi
  # modules.dep lists "driver: need need", to be loaded from right to left.
  for module in $(tr -d : <<<"$line" | tr ' ' '\n' | tac); do
    install -m 644 "$modules/$module" ir/modules/
    basename "$module" >>ir/modules/order
  done
done

(cd ir && find . | LC_ALL=C sort | cpio -o -H newc --quiet -R 0:0) | gzip -1 >"$out/initrd.gz.new"
cp "$(find x \( -path '*/boot/vmlinuz-*' -o -path "*/modules/$kernel/vmlinuz" \) -type f | head -n 1)" "$out/vmlinuz.new"
mv "$out/initrd.gz.new" "$out/initrd.gz"
mv "$out/vmlinuz.new" "$out/vmlinuz"
