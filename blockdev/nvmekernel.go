package blockdev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/internal/lazyregexp"
)

// NVMe is what a transport asks of the kernel's NVMe beyond sysfs.
type NVMe interface {
	// Connect makes a controller with options in the form of /dev/nvme-fabrics
	// ("transport=tcp,traddr=…,nqn=…"), and returns its name, such as nvme3.
	// One that is there already gives fs.ErrExist.
	Connect(ctx context.Context, options string) (controller string, err error)

	// Identify asks the device itself, past all caches of the kernel, what the
	// namespace behind a block device node is. EAGAIN: no path to it answers at
	// this moment.
	Identify(ctx context.Context, node string) (Namespace, error)
}

// Namespace is what an NVMe namespace says of itself.
type Namespace struct {
	NGUID, EUI64, UUID string // lower-case hexadecimal without dashes; empty: all zero
	SizeBytes          int64
}

// kernelNVMe is the running kernel.
type kernelNVMe struct{}

const fabricsNode = "/dev/nvme-fabrics"

var instance = lazyregexp.New(`^instance=([0-9]{1,9}),`)

// Connect returns when the kernel has connected or given up; it cannot be
// interrupted.
func (kernelNVMe) Connect(_ context.Context, options string) (string, error) {
	f, err := os.OpenFile(fabricsNode, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if _, err := f.WriteString(options); err != nil {
		if errors.Is(err, unix.EALREADY) {
			return "", fmt.Errorf("%w: %w", fs.ErrExist, err)
		}
		return "", err
	}
	var answer [256]byte
	n, err := f.Read(answer[:])
	if err != nil {
		return "", fmt.Errorf("read which controller it is: %w", err)
	}
	m := instance.FindSubmatch(answer[:n])
	if m == nil {
		return "", fmt.Errorf("the kernel made a controller, but named it %q", answer[:n])
	}
	return "nvme" + string(m[1]), nil
}

// Identify sends an Identify command, and a second one for the list of further
// identifiers if the answer lacks the NGUID: some targets give it only there.
// So the UUID is known only then.
func (kernelNVMe) Identify(ctx context.Context, node string) (Namespace, error) {
	f, err := os.OpenFile(node, os.O_RDONLY, 0)
	if err != nil {
		return Namespace{}, err
	}
	defer f.Close()
	nsid, err := unix.IoctlRetInt(int(f.Fd()), nvmeIoctlID)
	if err != nil {
		return Namespace{}, fmt.Errorf("ask for the NSID: %w", err)
	}
	page, err := identify(ctx, f, uint32(nsid), cnsNamespace)
	if err != nil {
		return Namespace{}, err
	}
	if n, err := parseIdentify(page, nil); err != nil || n.NGUID != "" {
		return n, err
	}
	list, err := identify(ctx, f, uint32(nsid), cnsDescriptors)
	if errors.Is(err, errStatus) { // optional before NVMe 1.3
		list, err = nil, nil
	}
	if err != nil {
		return Namespace{}, err
	}
	return parseIdentify(page, list)
}

// As in the kernel's include/uapi/linux/nvme_ioctl.h.
const (
	nvmeIoctlID       = 0x4e40     // _IO('N', 0x40)
	nvmeIoctlAdminCmd = 0xc0484e41 // _IOWR('N', 0x41, struct nvme_admin_cmd)
	opcodeIdentify    = 0x06
	cnsNamespace      = 0x00
	cnsDescriptors    = 0x03
	identifyBytes     = 4096
	identifyTimeoutMs = 10_000
)

// What the host itself answers where a controller is not reached has the type
// of errors of the path (NVMe Base Specification 1.4, figure 128). With native
// multipath the kernel answers EAGAIN instead.
const (
	statusTypeMask = 0x7
	statusOfPath   = 0x3
)

// adminCommand is struct nvme_admin_cmd.
type adminCommand struct {
	opcode, flags          uint8
	_                      uint16
	nsid                   uint32
	cdw2, cdw3             uint32
	metadata, addr         uint64
	metadataLen, dataLen   uint32
	cdw10, cdw11, cdw12    uint32
	cdw13, cdw14, cdw15    uint32
	timeoutMs, resultDword uint32
}

// errStatus: the device answered, and refused.
var errStatus = errors.New("the device refuses")

func identify(ctx context.Context, f *os.File, nsid uint32, cns uint32) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	page := make([]byte, identifyBytes)
	cmd := adminCommand{
		opcode: opcodeIdentify, nsid: nsid, cdw10: cns, timeoutMs: identifyTimeoutMs,
		addr: uint64(uintptr(unsafe.Pointer(&page[0]))), dataLen: identifyBytes,
	}
	var pin runtime.Pinner
	pin.Pin(&page[0])
	defer pin.Unpin()
	status, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), nvmeIoctlAdminCmd, uintptr(unsafe.Pointer(&cmd)))
	if errno != 0 {
		return nil, fmt.Errorf("identify %#02x of NSID %d: %w", cns, nsid, errno)
	}
	if status>>8&statusTypeMask == statusOfPath {
		return nil, fmt.Errorf("identify %#02x of NSID %d: %w: status %#x", cns, nsid, unix.EAGAIN, status)
	}
	if status != 0 {
		return nil, fmt.Errorf("identify %#02x of NSID %d: %w: status %#x", cns, nsid, errStatus, status)
	}
	return page, nil
}
