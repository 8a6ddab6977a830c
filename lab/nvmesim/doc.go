// Package nvmesim gives lab hosts an NVMe/TCP that needs no kernel module, so
// that the paths, the waiting and the checks of volbridge run as they do with
// an array, on any machine.
//
// A target (package target) plays the array's data path and the host's kernel
// at once: it listens at the portals, and in the hosts that have connected it
// makes what the kernel and udev would: entries of sysfs, nodes, links. The
// nodes are loop devices' under another name.
//
// What a loop device cannot do is ask for namespaces: it knows neither
// /dev/nvme-fabrics nor Identify. So the programs that run in such hosts are
// built with the tag "lab", and with it their machine is Machine instead of
// blockdev.System: the same transport, with these two questions answered by the
// target, and with sysfs at SysRoot. That is their only difference from the
// programs that are shipped; on a machine without Marker there is none.
//
// Not played: uevents (a change of size or of a controller's state makes a
// short-lived file beside the links instead), partitions, and I/O errors after
// a namespace was taken away or while all portals are down.
package nvmesim
