// Package domainxml reads the disks of a libvirt domain document and rewrites
// them by splicing: bytes that it was not told to change stay as they were.
package domainxml

// Namespace is the XML namespace of volbridge's element in <metadata>.
const Namespace = "urn:volbridge:domain:1"

// Prefix is the prefix that volbridge writes for Namespace, and the key to give
// to virDomainSetMetadata together with Metadata.Unqualified.
const Prefix = "volbridge"

// Limits on what is read. Depth has room for the longest backing chain that
// libvirt allows (200); beyond 256 libvirt's own XML library gives up too.
const (
	MaxBytes = 16 << 20
	MaxDepth = 256
)

// Disk is one <disk> of a domain, as written. Attributes that are absent are
// empty strings, except Kind and Device, which have libvirt's defaults.
type Disk struct {
	Index  int    // position among the disks of the document, from 0
	Kind   string // the disk's type: file (libvirt's default), block, volume, network, dir, nvme, …
	Device string // disk (libvirt's default), cdrom, floppy, lun
	Target string // vda
	Bus    string // virtio

	Source string // source file, dev, dir, name or path, by kind; empty: no medium
	Pool   string // of type='volume'
	Volume string // of type='volume'

	Format       string // driver type
	Cache        string
	IO           string
	Discard      string
	DetectZeroes string

	ReadOnly  bool
	Shareable bool
	Transient bool
	Serial    string
	WWN       string

	SliceBytes int64     // size of <slice type='storage'>, 0 without one
	Backing    []Backing // the explicit backing chain, nearest first
	// Unkeepable names what the disk has that a raw block disk cannot keep:
	// "encryption" (of the source or of a backing store), "reservations".
	Unkeepable []string
}

// Backing is one explicit <backingStore> of a disk.
type Backing struct {
	Kind   string
	Format string
	Source string
}

// Empty says whether the disk has no medium. Network and NVMe disks are told by
// more than a path and always have one.
func (d Disk) Empty() bool {
	return d.Source == "" && d.Volume == "" && d.Kind != "network" && d.Kind != "nvme"
}

// ManagedDisk is what the metadata declares of one disk.
type ManagedDisk struct {
	Target    string
	Pool      string
	Volume    string
	SizeBytes int64  // the size that the guest sees, 0 if not recorded
	Origin    string // where the data came from, for people
}

// Metadata is volbridge's element in the domain's <metadata>.
type Metadata struct {
	Disks []ManagedDisk // in the order of the document
	// Arrival is the one-time token by which `prepare` recognises the
	// incoming migration that `migrate` made ready on the same host.
	Arrival string
}

// BlockDisk tells Rewrite to make one disk a raw block disk.
type BlockDisk struct {
	Target string // which disk
	Path   string // the device's path on the host that the document is for
	// SliceBytes is the size that the guest sees where the device is larger;
	// 0 leaves the disk without a storage slice.
	SliceBytes int64
}
