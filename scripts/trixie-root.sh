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

# The mirror that this machine's apt has for Debian's main archive.
own_mirror() {
	local codename
	codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
		awk -v release="$codename" '$2 == release && $3 == "main" && !seen++ { print $1 }'
}
mirror=${VOLBRIDGE_MIRROR:-$(own_mirror)}
if [ -z "$mirror" ]; then # without lists apt does not say
	apt-get -qq update
	mirror=$(own_mirror)
fi
if [ -z "$mirror" ]; then
	echo "$0: apt has no mirror of Debian's main archive; name one in VOLBRIDGE_MIRROR" >&2
	exit 1
fi

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
