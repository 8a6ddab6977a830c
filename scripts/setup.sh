#!/bin/bash
# Installs on Debian 12 what volbridge's build, demo and tests need. What is
# there already is left alone, so it costs nothing to run it again.
#
#   setup.sh [--demo]   build and demo
#   setup.sh --test     these and what the tests need: tools, libvirt's own XML
#                       files, a Debian 13 root file system for lab hosts
#   setup.sh --package   build and what packing needs
#   setup.sh --lab      build and demo, and what the lab of emulated machines
#                       needs: tools, the machines' image
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

# libvirt-daemon is libvirtd without its service: the lab starts its own, and
# nothing new runs on this machine.
demo=(
	gcc libc6-dev git make
	libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients
	qemu-system-x86 qemu-utils
	iproute2 mount
)
tests=(
	binutils e2fsprogs libxml2-utils procps
	mmdebstrap dpkg-dev xz-utils debian-archive-keyring
)
# What packages are made of, looked over with and tried in.
package=(lintian rpm rpmlint shellcheck man-db systemd)
shells=(bash zsh fish)
lab=(mmdebstrap debian-archive-keyring e2fsprogs)

say() { echo "setup: $*"; }

fail() {
	echo "setup: $*" >&2
	exit 1
}

missing() {
	local package
	for package; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
	done
}

install_packages() {
	local wanted
	mapfile -t wanted < <(missing "$@")
	if [ ${#wanted[@]} = 0 ]; then
		say "all packages are there"
		return
	fi
	[ "$(id -u)" = 0 ] || fail "needs root to install: ${wanted[*]}"
	say "installing ${wanted[*]}"
	apt-get -qq update
	DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends -o Dpkg::Use-Pty=0 "${wanted[@]}" >/dev/null
}

check_go() {
	local need have
	need=$(awk '$1 == "go" { print $2 }' "$here/../go.mod")
	command -v go >/dev/null ||
		fail "there is no go command: install Go $need or newer and put it on the PATH"
	# The version of the toolchain that would build this module.
	have=$(cd "$here/.." && go env GOVERSION) ||
		fail "this go command cannot build the module: install Go $need or newer"
	have=${have#go}
	[ "$(printf '%s\n' "$need" "$have" | sort -V | head -n1)" = "$need" ] ||
		fail "go is $have, but Go $need or newer is needed: install it"
	say "go is $have"
}

mode=${1:---demo}
case $mode in
--demo) install_packages "${demo[@]}" ;;
--test) install_packages "${demo[@]}" "${tests[@]}" "${package[@]}" "${shells[@]}" ;;
--package) install_packages "${demo[@]}" "${package[@]}" ;;
--lab) install_packages "${demo[@]}" "${lab[@]}" ;;
*) fail "usage: setup.sh [--demo|--test|--package|--lab]" ;;
esac
check_go
if [ "$mode" = --test ]; then
	"$here/fetch-libvirt-xml.sh"
	"$here/trixie-root.sh"
fi
if [ "$mode" = --lab ]; then
	"$here/machine-image.sh"
fi
say "done after ${SECONDS} s"
