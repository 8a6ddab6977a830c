#!/usr/bin/env bash
# Lists what a test could leave on a machine: loop devices, network links and
# namespaces, mounts, folders of links, an installed volbridge and what it keeps,
# and processes of hypervisors. Two runs around a test must print the same.
set -euo pipefail
losetup --noheadings --output NAME,BACK-FILE | sort
ip -o link | awk -F': ' '{print "link", $2}' | sort
ip netns list | sort
awk '{print "mount", $2, $3}' /proc/mounts | sort
find /dev/volbridge /run/volbridge /var/lib/volbridge /etc/volbridge /etc/nvme /usr/bin/volbridge /etc/libvirt/hooks/qemu.d 2>/dev/null | sort || true
ps -eo comm= | grep -E '^(libvirtd|virtlogd|qemu-system|volbridge)' | sort | sed 's/^/process /' || true
