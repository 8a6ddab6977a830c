#!/bin/bash
# Prints the Debian mirror to fetch from: VOLBRIDGE_MIRROR, or the one that
# apt on this machine uses for the main archive of its release.
set -euo pipefail

own_mirror() {
	local codename
	codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
	apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
		awk -v release="$codename" '$2 == release && $3 == "main" && !seen++ { print $1 }'
}

mirror=${VOLBRIDGE_MIRROR:-$(own_mirror)}
if [ -z "$mirror" ] && [ "$(id -u)" = 0 ]; then # without lists apt does not say
	apt-get -qq update >&2
	mirror=$(own_mirror)
fi
if [ -z "$mirror" ]; then
	echo "$0: apt has no mirror of Debian's main archive; name one in VOLBRIDGE_MIRROR" >&2
	exit 1
fi
echo "$mirror"
