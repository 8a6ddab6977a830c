// Package scenario has the tests of volbridge on emulated machines: real
// kernels, NVMe/TCP, udev, libvirt and QEMU, and the programs as they are
// shipped. They have the build tag machines; `make lab` runs them.
package scenario
