package doctor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/volbridge/volbridge/hooks"
	"github.com/volbridge/volbridge/internal/lazyregexp"
)

func checkHostID(ctx context.Context, e *Env) []Finding {
	if e.HostErr != nil {
		if nqnIsWrong(e.HostErr) {
			return skip("see host-nqn")
		}
		return []Finding{{Level: Fail, Seen: oneLine(e.HostErr.Error()), Remedy: "give the machine an id", Commands: []string{"systemd-machine-id-setup"}}}
	}
	facts, ok := e.peerFacts(ctx)
	if !ok || facts.ID != hooks.Digest(e.Host.ID) {
		return nil
	}
	f := Finding{Level: Fail, Seen: "this host and " + e.Peer + " have the same host id: one is a clone of the other, and each can only tell that the other is not itself by its boot"}
	if e.Config.HostID != "" {
		f.Remedy = "give one of them another host_id; on the one that holds no volume, so that nothing has to be returned under the old id"
		f.Commands = []string{fmt.Sprintf("sed -i '/^host_id[ =]/d' %s", quote(e.Config.Path))}
		return []Finding{f}
	}
	f.Remedy = "make a new machine id on the one that holds no volume, and start what has read the old one again"
	f.Commands = []string{"rm -f /etc/machine-id /var/lib/dbus/machine-id", "systemd-machine-id-setup"}
	return []Finding{f}
}

const (
	nqnFile    = "/etc/nvme/hostnqn"
	hostIDFile = "/etc/nvme/hostid"
)

var newName = []string{"rm -f " + nqnFile + " " + hostIDFile}

// sharedIDs are UUIDs that boards and images come with, so that many hosts have
// them.
var sharedIDs = []string{
	"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
	"03000200-0400-0500-0006-000700080009", "12345678-1234-5678-90ab-cddeefaabbcc", "12345678-1234-1234-1234-123456789abc",
}

var uuidForm = lazyregexp.New(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func nqnIsWrong(err error) bool { return strings.Contains(err.Error(), nqnFile) }

func checkHostNQN(ctx context.Context, e *Env) []Finding {
	if !e.needs("flasharray") {
		return nil
	}
	const remedy = "remove the name; volbridge makes one that follows from the host's id, under which the storage has to know this host"
	name := e.read(nqnFile)
	_, id, _ := strings.Cut(strings.ToLower(name), ":uuid:")
	switch {
	case e.HostErr != nil && nqnIsWrong(e.HostErr):
		return []Finding{{Level: Fail, Seen: oneLine(e.HostErr.Error()), Remedy: remedy, Commands: newName}}
	case e.HostErr != nil:
		return skip("see host-id")
	case slices.Contains(sharedIDs, id):
		return []Finding{{Level: Fail, Seen: fmt.Sprintf("%s is %s: boards and images come with this name, so other hosts have it too", nqnFile, name), Remedy: remedy, Commands: newName}}
	}
	if have := e.read(hostIDFile); e.exists(hostIDFile) && !uuidForm.MatchString(have) {
		return []Finding{{Level: Fail, Seen: hostIDFile + " holds no UUID: no volume can be connected", Remedy: "remove it; volbridge makes one", Commands: []string{"rm " + hostIDFile}}}
	}
	if facts, ok := e.peerFacts(ctx); ok && facts.NQN == hooks.Digest(e.Host.NQN) {
		return []Finding{{Level: Fail, Seen: fmt.Sprintf("this host and %s have the same NVMe name (%s): the storage takes them for one host, and shows each what the other may reach", e.Peer, e.Host.NQN),
			Remedy: "on the one that holds no volume: " + remedy, Commands: newName}}
	}
	return e.connectedAs()
}

// connectedAs finds connections of this host under another name.
func (e *Env) connectedAs() []Finding {
	all, _ := filepath.Glob(e.Path("/sys/class/nvme") + "/*/hostnqn") // the pattern is right
	for _, file := range all {
		text, err := os.ReadFile(file)
		if name := trim(text); err == nil && strings.HasPrefix(name, "nqn.") && name != e.Host.NQN {
			return []Finding{{Level: Warn, Seen: fmt.Sprintf("controller %s is connected under the name %s, this host is %s now", filepath.Base(filepath.Dir(file)), oneLine(name), e.Host.NQN),
				Remedy: "if that is the right name write it into " + nqnFile + ", else disconnect the controller once nothing uses it (nvme disconnect)"}}
		}
	}
	return nil
}
