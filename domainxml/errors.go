package domainxml

import (
	"errors"
	"fmt"
)

// What callers may tell apart; any other error of Parse means that the
// document is not well-formed or contradicts itself.
var (
	// ErrTooLarge: more than MaxBytes, or more disks than any domain has.
	ErrTooLarge = errors.New("domain XML is too large")
	// ErrTooDeep: elements nested deeper than MaxDepth.
	ErrTooDeep = errors.New("domain XML is nested too deeply")
	// ErrDoctype: a document type declaration, which libvirt never writes and
	// which could define entities.
	ErrDoctype = errors.New("domain XML has a document type declaration; remove it")
	// ErrEncoding: neither UTF-8 nor ASCII.
	ErrEncoding = errors.New("domain XML is not in UTF-8")
	// ErrNotDomain: well-formed, but another kind of document.
	ErrNotDomain = errors.New("not a domain document")

	// ErrNoDisk: Rewrite was asked for a disk that the domain does not have.
	ErrNoDisk = errors.New("no such disk")
	// ErrNoMedium: Rewrite was asked for a disk without a source.
	ErrNoMedium = errors.New("the disk has no medium")
	// ErrBlockJob: Rewrite was asked for a disk that a block job mirrors.
	ErrBlockJob = errors.New("a block job mirrors the disk; wait for it, or end it with `virsh blockjob`")
)

// UnkeepableError refuses to make a disk a raw block disk because something
// that its owner asked for would be lost silently.
type UnkeepableError struct {
	Target string // vda
	What   string // encryption, reservations
}

func (e *UnkeepableError) Error() string {
	return fmt.Sprintf("disk %s has <%s>, which a raw block disk cannot keep; remove it from the domain or leave the disk where it is",
		e.Target, e.What)
}

// foreign says of documents that hold or resemble a domain what to give
// instead of them.
var foreign = map[string]string{
	"domstatus":          "libvirt's own state of a running domain; give the output of `virsh dumpxml`",
	"domainsnapshot":     "a snapshot; give the output of `virsh dumpxml` of its domain",
	"domaincheckpoint":   "a checkpoint; give the output of `virsh dumpxml` of its domain",
	"domainbackup":       "a backup job; give the output of `virsh dumpxml` of its domain",
	"domainCapabilities": "what a host offers to domains; give the output of `virsh dumpxml`",
	"capabilities":       "what a host offers; give the output of `virsh dumpxml`",
	"inactiveDomain":     "a part of a snapshot; give the output of `virsh dumpxml --inactive`",
	"qemu-migration":     "a migration cookie; give the output of `virsh dumpxml --migratable`",
	"disk":               "one disk; give the whole domain, as `virsh dumpxml` prints it",
	"network":            "a virtual network; give the output of `virsh dumpxml`",
	"pool":               "a storage pool; give the output of `virsh dumpxml`",
	"volume":             "a storage volume; give the output of `virsh dumpxml`",
}
