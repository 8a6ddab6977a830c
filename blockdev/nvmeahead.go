package blockdev

import (
	"context"
	"os"
)

// nvmeAhead asks a namespace what it is while udev is still making its link.
// That takes as long as a reply of the array takes, and udev some 20 ms: so
// nobody waits for the reply.
//
// What is known ahead is what the namespace says of itself. Everything that
// this host can change until the link is there is looked at then: where the link
// leads, whether the node is that of this namespace, what the kernel takes it
// for, and who has it.
type nvmeAhead struct {
	of     nvmeNamespace
	folder os.FileInfo // of the namespace, which the kernel makes anew for each
	says   Namespace
}

// ask asks a namespace that has no link yet, once. An error is not told: the
// device is asked again when the link is there, and gives it again then.
func (a *nvmeAhead) ask(ctx context.Context, t nvme, n nvmeNamespace) {
	folder, err := os.Stat(n.dir)
	if err != nil || a.is(n, folder) || t.checkNode(n) != nil {
		return
	}
	*a = nvmeAhead{}
	if says, err := t.host.NVMe.Identify(ctx, n.node); err == nil {
		*a = nvmeAhead{of: n, folder: folder, says: says}
	}
}

// said is what this very namespace has said of itself.
func (a *nvmeAhead) said(n nvmeNamespace) (Namespace, bool) {
	folder, err := os.Stat(n.dir)
	return a.says, err == nil && a.is(n, folder)
}

func (a *nvmeAhead) is(n nvmeNamespace, folder os.FileInfo) bool {
	return a.folder != nil && os.SameFile(a.folder, folder) && a.of.node == n.node && a.of.number == n.number && a.of.nsid == n.nsid
}
