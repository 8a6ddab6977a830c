package machines

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/volbridge/volbridge/lab/machines/nvmet"
)

// Portals are the machine's two portals as an array has them.
func (n *Node) Portals() []nvmet.Portal {
	return []nvmet.Portal{{ID: 1, Address: n.Portal(1)}, {ID: 2, Address: n.Portal(2)}}
}

// Target carries out orders on the NVMe target of the machine, which becomes
// the array if it is not yet.
func (n *Node) Target(ctx context.Context, array nvmet.Array, orders ...nvmet.Order) error {
	text, err := json.Marshal(nvmet.Orders{Array: array, Orders: orders})
	if err != nil {
		return err
	}
	cmd := n.Command(ctx, "/run/lab/machines", "target")
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: NVMe target: %w: %s", n.name, err, out)
	}
	return nil
}

// MaskEvents makes the host deaf for what the arrays say of their namespaces,
// until a controller connects anew: what appears, goes or changes is then only
// seen by a rescan.
func (n *Node) MaskEvents(ctx context.Context) error {
	_, err := n.Shell(ctx, `for c in /dev/nvme[0-9] /dev/nvme[0-9][0-9]; do
			[ ! -e "$c" ] || nvme set-feature "$c" -f 0x0b -v 0
		done`)
	return err
}

// Rescan makes the host look for namespaces through every controller, one
// after the other.
func (n *Node) Rescan(ctx context.Context) error {
	_, err := n.Shell(ctx, `for c in /sys/class/nvme/nvme*; do echo 1 >"$c/rescan_controller"; done; udevadm settle`)
	return err
}
