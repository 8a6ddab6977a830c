#!/bin/bash
# Makes a small Debian 13 root file system with libvirt and QEMU in the cache,
# for lab hosts of the next generation. Does nothing if it is there already.
#
#   VOLBRIDGE_CACHE   where (default: .cache in the source tree)
#   VOLBRIDGE_MIRROR  Debian mirror (default: the one that apt here uses)
set -euo pipefail

suite=trixie
cache=${VOLBRIDGE_CACHE:-$(cd "$(dirname "$0")/.." && pwd)/.cache}
root=$cache/$suite-root
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
packages=libvirt-daemon,libvirt-daemon-driver-qemu,libvirt-daemon-driver-storage,libvirt-clients
packages+=,qemu-system-x86,qemu-utils,iproute2,mount,procps

if [ "$(id -u)" != 0 ]; then
	echo "$0: needs root" >&2
	exit 1
fi
mkdir -p "$cache"
# Only one at a time; who waited finds it done.
exec 9<"$cache"
flock 9
if [ -d "$root" ]; then
	echo "$root is there"
	exit 0
fi

mirror=$("$(dirname "$0")/debian-mirror.sh")

new=$(mktemp -d "$cache/$suite-root.new.XXXXXX")
trap 'rm -rf --one-file-system "$new"' EXIT
trap 'exit 1' INT TERM HUP

# Proxies and certificates, as apt here has them.
apt-config dump | grep -iE '^Acquire::(http|https|Retries|ForceIPv4)' >"$new/apt.conf" || true

echo "making $root from $mirror (about a minute and a half)"
# Mounts of a killed run go with the namespace.
unshare --mount mmdebstrap --quiet --mode=root --variant=essential \
	--include="$packages" --components=main --keyring="$keyring" --aptopt="$new/apt.conf" \
	--dpkgopt='path-exclude=/usr/share/doc/*' \
	--dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/info/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	"$suite" "$new/root" "$mirror"
# What only apt needs, and what it was told of this machine.
rm -rf "$new"/root/etc/apt "$new"/root/var/{lib,cache}/apt
mv -T "$new/root" "$root"
echo "made $root: $(du -sh "$root" | cut -f1)"
