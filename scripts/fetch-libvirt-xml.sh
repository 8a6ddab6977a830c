#!/bin/sh
# Fetch libvirt's own XML test files and schemas from the distribution's source
# package.
#
#   fetch-libvirt-xml.sh [DIR]
#
# Afterwards DIR holds tests/*/*.xml and src/conf/schemas/*.rng. The default is
# libvirt-xml in $VOLBRIDGE_CACHE, or in .cache of this repository. A DIR that
# is complete already is left alone. apt's own configuration and lists are not
# touched: a private set is used and removed again.
set -eu

repo=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
cache=${VOLBRIDGE_CACHE:-$repo/.cache}
dir=${1:-$cache/libvirt-xml}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

if [ -f "$dir/.complete" ]; then
	echo "libvirt's XML files are in $dir ($(cat "$dir/.complete"))"
	exit 0
fi

for tool in apt-get dpkg-source tar xz; do
	if ! command -v "$tool" >/dev/null; then
		echo "fetch-libvirt-xml: $tool is missing; install apt, dpkg-dev, tar and xz-utils" >&2
		exit 1
	fi
done
if [ ! -r "$keyring" ]; then
	echo "fetch-libvirt-xml: $keyring is missing; install debian-archive-keyring" >&2
	exit 1
fi
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
if [ -z "$codename" ]; then
	echo "fetch-libvirt-xml: /etc/os-release names no Debian release" >&2
	exit 1
fi

mirror=$("$repo/scripts/debian-mirror.sh")
mkdir -p "$(dirname -- "$dir")"
work=$(mktemp -d "$dir.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# Only source lists, only of the distribution that this host runs. Of apt's own
# configuration only the way out (proxies) is taken over: hooks in it would
# touch the system's cache.
mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/apt/parts" "$work/source" "$work/out"
echo "deb-src [signed-by=$keyring] $mirror $codename main" >"$work/apt/sources.list"
{ apt-config dump | grep '^Acquire::' || true; } >"$work/apt/apt.conf"
cat >>"$work/apt/apt.conf" <<CONF
Dir::Etc::main "$work/apt/none";
Dir::Etc::parts "$work/apt/parts";
Dir::Etc::sourcelist "$work/apt/sources.list";
Dir::Etc::sourceparts "-";
Dir::State::lists "$work/apt/lists";
Dir::Cache "$work/apt/cache";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
CONF

APT_CONFIG=$work/apt/apt.conf apt-get -qq update
(cd "$work/source" && APT_CONFIG=$work/apt/apt.conf apt-get -qq source --download-only libvirt >/dev/null)

tar -C "$work/out" -xJf "$work"/source/libvirt_*.orig.tar.xz --strip-components=1 \
	--wildcards '*/tests/*.xml' '*/src/conf/schemas/*.rng'
version=$(basename "$work"/source/libvirt_*.dsc .dsc)
echo "$version" >"$work/out/.complete"
rm -rf "$dir"
mv "$work/out" "$dir"
echo "fetched $(find "$dir/tests" -name '*.xml' | wc -l) XML files of $version into $dir"
