// Package image copies a disk image into a block device. The work is qemu-img's;
// this package decides what may be read and how it is written.
//
// # What is read
//
// An image is untrusted: its header may name other files, which whoever opens
// it would read (CVE-2024-32498, CVE-2024-4467). So this package reads the
// header itself before any tool does, and refuses an image that needs another
// file, is encrypted, or is cut off. Only then qemu-img looks at it, told the
// format, told that there is no backing file, and within limits of memory and
// processor time. The format is never left to the tool to guess.
//
// # What is written
//
// The first and the last MiB of an image hold what a firmware, a kernel or a
// volume manager looks for: partition tables, superblocks, labels. They are
// written last, when all the rest is on the device, flushed and, if that was
// asked for, compared; before, both are zeroes. So a copy that ends early, by a
// signal or by a power cut, leaves nothing that looks like a disk, without
// anybody having to come back for it.
package image
