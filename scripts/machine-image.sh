#!/bin/bash
# Makes the disk, the kernel and the initramfs that all machines of package
# lab/machines boot from, in machine/ of the cache. Does nothing if they are
# there and this script has not changed since.
#
#   VOLBRIDGE_CACHE   where (default: .cache in the source tree)
#   VOLBRIDGE_MIRROR  Debian mirror (default: the one that apt here uses)
set -euo pipefail

suite=bookworm
disk_size=12G # sparse
cache=${VOLBRIDGE_CACHE:-$(cd "$(dirname "$0")/.." && pwd)/.cache}
image=$cache/machine
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# The cloud kernel has virtio, NVMe/TCP on both sides, DRBD and dm-multipath.
packages=linux-image-cloud-amd64,busybox-static,systemd-sysv,udev,dbus,kmod,procps,mount,iproute2,e2fsprogs
packages+=,nvme-cli,drbd-utils,multipath-tools,qemu-system-x86,qemu-utils
packages+=,libvirt-daemon-system,libvirt-clients,apparmor
# What the quick starts take for granted.
packages+=,apt,openssh-server,openssh-client,nfs-kernel-server,nfs-common
# What the attach times are measured against.
packages+=,python3-os-brick

# What the kernel needs to reach its root and the lab's network.
modules=(virtio_pci virtio_blk virtio_net virtio_console virtio_rng ext4)

if [ "$(id -u)" != 0 ]; then
	echo "$0: needs root" >&2
	exit 1
fi
mkdir -p "$cache"
# Only one at a time; who waited finds it done.
exec 9<"$cache"
flock 9
key=$(sha256sum <"$0" | cut -c1-16)
if [ "$(cat "$image/key" 2>/dev/null)" = "$key" ]; then
	echo "$image is there"
	exit 0
fi

mirror=$("$(dirname "$0")/debian-mirror.sh")

new=$(mktemp -d "$cache/machine.new.XXXXXX")
trap 'rm -rf --one-file-system "$new"' EXIT
trap 'exit 1' INT TERM HUP
root=$new/root

# Proxies and certificates, as apt here has them.
apt-config dump | grep -iE '^Acquire::(http|https|Retries|ForceIPv4)' >"$new/apt.conf" || true

bootstrap() {
	# Mounts of a killed run go with the namespace.
	unshare --mount mmdebstrap --quiet --mode=root --variant=essential \
		--include="$packages" --components=main --keyring="$keyring" --aptopt="$new/apt.conf" \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/info/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		"$suite" "$root" "$mirror"
	# What apt was told of this machine. In the lab it has no archive.
	rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/apt.conf.d/99mmdebstrap
	rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*
}

# Each machine gets its name, its ids and its hosts file from the lab. What is
# set here is the same for all.
configure() {
	rm -f "$root"/etc/machine-id "$root"/etc/hostname "$root"/etc/nvme/host{nqn,id}
	echo '/dev/vda / ext4 discard 0 0' >"$root/etc/fstab"

	# libvirt listens on the lab's network, for migrations between machines. It
	# is started by the lab where the machine is a KVM host.
	cat >>"$root/etc/libvirt/libvirtd.conf" <<-CONF
		listen_tls = 0
		listen_tcp = 1
		auth_tcp = "none"
		log_outputs = "1:file:/var/log/libvirt/libvirtd.log"
		log_filters = "1:qemu.qemu_migration 1:util.hook 3:*"
	CONF
	cat >>"$root/etc/libvirt/qemu.conf" <<-CONF
		security_driver = "none"
		stdio_handler = "file"
	CONF
	echo 'LIBVIRTD_ARGS=' >"$root/etc/default/libvirtd" # no end after two idle minutes
	rm -f "$root"/etc/libvirt/qemu/networks/autostart/*
	chroot "$root" systemctl --quiet disable libvirtd.service libvirt-guests.service
	chroot "$root" systemctl --quiet enable libvirtd.socket libvirtd-tcp.socket

	# Those that some test starts.
	chroot "$root" systemctl --quiet disable ssh.service nfs-server.service nfs-client.target \
		rpcbind.service rpcbind.socket

	# Nothing that runs by the clock, and nothing that no test asks for.
	chroot "$root" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer \
		dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer logrotate.timer \
		systemd-tmpfiles-clean.timer systemd-timesyncd.service systemd-pstore.service \
		multipathd.service multipathd.socket drbd.service iscsid.socket iscsid.service open-iscsi.service \
		nvmefc-boot-connections.service nvmf-autoconnect.service \
		getty@.service serial-getty@.service systemd-networkd.service
}

# The initramfs loads what it takes to mount the root, plugs the network in,
# and puts the lab's files where the machine finds them. The lab appends an
# archive with /lab to it.
initramfs() {
	local version tree=$new/initramfs module
	version=$(ls "$root/lib/modules")
	mkdir -p "$tree"/{bin,dev,proc,sys,run,root,modules}
	cp "$root/bin/busybox" "$tree/bin/busybox"
	for module in "${modules[@]}"; do
		chroot "$root" modprobe --set-version "$version" --show-depends "$module"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$new/modules"
	while read -r module; do
		cp "$root/$module" "$tree/modules/"
		basename "$module"
	done <"$new/modules" >"$tree/modules/order"
	cat >"$tree/init" <<-'INIT'
		#!/bin/busybox sh
		export PATH=/bin
		/bin/busybox --install -s /bin
		mount -t devtmpfs dev /dev
		mount -t proc proc /proc
		mount -t sysfs sys /sys
		mount -t tmpfs -o mode=755,nosuid,nodev run /run
		fail() {
			echo "initramfs: $*" >/dev/console
			poweroff -f
		}
		while read -r module; do
			insmod "/modules/$module" || fail "insmod $module"
		done </modules/order
		mount -t ext4 /dev/vda /root || fail "mount the root"
		# A machine that is new gets its own files, once.
		if ! [ -e /root/.lab ]; then
			cp -a /lab/root/. /root/ && touch /root/.lab || fail "copy the lab's files"
		fi
		cp -a /lab/run/. /run/ || fail "copy the lab's program"
		. /lab/network || fail "network"
		for dir in dev sys run; do
			mount -o move /$dir /root/$dir
		done
		umount /proc
		exec switch_root /root /sbin/init
	INIT
	chmod 755 "$tree/init"
	(cd "$tree" && find . | LC_ALL=C sort | "$root/bin/busybox" cpio -o -H newc 2>/dev/null) >"$new/out/initramfs"
	cp "$root/boot/vmlinuz-$version" "$new/out/vmlinuz"
	rm -rf "$root"/boot/* "$root"/vmlinuz* "$root"/initrd*
}

echo "making $image from $mirror (about three minutes)"
mkdir "$new/out"
bootstrap
configure
initramfs
truncate -s "$disk_size" "$new/out/disk"
mkfs.ext4 -q -E lazy_itable_init=1,lazy_journal_init=1 -d "$root" "$new/out/disk"
echo "$key" >"$new/out/key"
chroot "$root" dpkg-query -W -f '${Package} ${Version}\n' >"$new/out/packages"
size=$(du -sh "$root" | cut -f1)
rm -rf --one-file-system "$image"
mv -T "$new/out" "$image"
echo "made $image: root $size, $(du -sh "$image" | cut -f1) on disk, after $SECONDS s"
