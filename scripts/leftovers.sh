#!/usr/bin/env bash
# Lists what a test could leave on a machine: loop devices, network links and
# namespaces, mounts, folders of links, and processes of hypervisors. Two runs
# around a test must print the same.
set -euo pipefail
losetup --noheadings --output NAME,BACK-FILE | sort
ip -o link | awk -F': ' '{print "link", $2}' | sort
ip netns list | sort
awk '{print "mount", $2, $3}' /proc/mounts | sort
ls -d /dev/volbridge /run/volbridge 2>/dev/null || true
ps -eo comm= | grep -E '^(libvirtd|virtlogd|qemu-system|volbridge)' | sort | sed 's/^/process /' || true
