// Package scenario holds the integration tests: volbridge as an administrator
// uses it, on hosts of a lab with real libvirtd, QEMU and block devices.
//
// Every test ends with the same questions: does the guest run in exactly one
// place, was a value of its counter lost, and is anything left — a grant, a
// device, a link, a record, a volume — that should not be.
package scenario
