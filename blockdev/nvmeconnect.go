package blockdev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// nvmeConnects makes the controllers that are missing, all at once.
//
// The kernel makes one controller at a time for the whole machine
// (nvmf_dev_mutex), and one to a portal that does not answer keeps everybody
// waiting until TCP gives up, two minutes later. So each portal is first tried
// with a connection of our own, which can be given up.
type nvmeConnects struct {
	started bool
	cancel  context.CancelFunc
	results chan portalResult
	waiting []netip.AddrPort // not heard of yet
	errs    []error
	notes   []string
	reached bool // one at least is there
}

type portalResult struct {
	portal  netip.AddrPort
	err     error
	skipped bool // not needed
}

// start is called for each view, and acts on the first.
func (l *nvmeConnects) start(ctx context.Context, t nvme, target *NVMeTarget, portals []netip.AddrPort, v nvmeView) {
	if l.started {
		return
	}
	l.started = true
	for _, p := range portals {
		if !v.to(p) && !slices.Contains(l.waiting, p) {
			l.waiting = append(l.waiting, p)
		}
	}
	if len(l.waiting) == 0 {
		return
	}
	ctx, l.cancel = context.WithCancel(ctx)
	l.results = make(chan portalResult, len(l.waiting)) // nobody is left waiting to say it
	missing := slices.Clone(l.waiting)
	go t.connectAll(ctx, target, missing, v, l.results)
}

// connectAll connects to portals and says of each how it went.
func (t nvme) connectAll(ctx context.Context, target *NVMeTarget, portals []netip.AddrPort, v nvmeView, results chan<- portalResult) {
	hostID, err := t.prepareConnect(ctx, target, v)
	if err != nil {
		for _, p := range portals {
			results <- portalResult{portal: p, err: err}
		}
		return
	}
	one := &singlePath{only: !t.multipath(), taken: len(v.controllers) > 0}
	for _, p := range portals {
		go func() {
			skipped, err := t.connect(ctx, target, p, hostID, one)
			results <- portalResult{portal: p, err: err, skipped: skipped}
		}()
	}
}

// singlePath keeps a host without native multipath to one controller: each
// further one would show the volume as another device.
type singlePath struct {
	only bool
	sync.Mutex
	taken bool
}

func (t nvme) connect(ctx context.Context, target *NVMeTarget, portal netip.AddrPort, hostID string, one *singlePath) (skipped bool, err error) {
	if err := t.dial(ctx, portal); err != nil {
		var op *net.OpError // repeats the address
		if errors.As(err, &op) {
			err = op.Err
		}
		return false, fmt.Errorf("portal %s: %w", portal, err)
	}
	if one.only {
		one.Lock()
		defer one.Unlock()
		if one.taken {
			return true, nil
		}
	}
	if ctx.Err() != nil {
		return false, fmt.Errorf("portal %s: %w", portal, context.Cause(ctx))
	}
	_, err = t.host.NVMe.Connect(ctx, connectOptions(target, portal, hostID))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return false, fmt.Errorf("portal %s: the kernel cannot connect: %w", portal, err)
	}
	if one.only {
		one.taken = true
	}
	return false, nil
}

// connectOptions are in the form of /dev/nvme-fabrics; the names are those of
// opt_tokens in the kernel's drivers/nvme/host/fabrics.c.
func connectOptions(target *NVMeTarget, portal netip.AddrPort, hostID string) string {
	options := []string{
		"transport=tcp", "traddr=" + portal.Addr().String(), fmt.Sprintf("trsvcid=%d", portal.Port()),
		"nqn=" + target.SubsystemNQN, "hostnqn=" + target.HostNQN, "hostid=" + hostID,
	}
	if target.CtrlLossTimeout < 0 {
		options = append(options, "ctrl_loss_tmo=-1")
	} else if target.CtrlLossTimeout > 0 {
		options = append(options, fmt.Sprintf("ctrl_loss_tmo=%d", wholeSeconds(target.CtrlLossTimeout)))
	}
	if target.FastIOFailTimeout > 0 {
		options = append(options, fmt.Sprintf("fast_io_fail_tmo=%d", wholeSeconds(target.FastIOFailTimeout)))
	}
	return strings.Join(options, ",")
}

// wholeSeconds rounds up: 0 would mean something else.
func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// multipath says whether the kernel makes one device of several controllers.
// Without the parameters of nvme_core nothing is known, and that is the
// kernel's default.
func (t nvme) multipath() bool {
	parameters := t.sys("module/nvme_core/parameters")
	value, err := attribute(parameters, "multipath")
	if err == nil {
		return value == "Y"
	}
	names, _ := folderNames(filepath.Clean(parameters))
	return len(names) == 0
}

func (l *nvmeConnects) note(r portalResult) {
	l.waiting = slices.DeleteFunc(l.waiting, func(p netip.AddrPort) bool { return p == r.portal })
	switch {
	case r.skipped:
		l.notes = append(l.notes, fmt.Sprintf("portal %s is not used: native multipath is off "+
			"(nvme_core.multipath=N), so this host has one path to the volume", r.portal))
	case r.err != nil:
		l.errs = append(l.errs, r.err)
		slices.SortFunc(l.errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	default:
		l.reached = true
	}
}

// hopeless: every portal was tried in vain.
func (l *nvmeConnects) hopeless() bool {
	return len(l.waiting) == 0 && !l.reached && len(l.errs) > 0
}

func (l *nvmeConnects) failed(target *NVMeTarget) error {
	return fmt.Errorf("no portal of subsystem %s lets in host %s: %w; see the kernel's words with 'dmesg', "+
		"whether the array knows the host by that NQN, and the network to its portals",
		target.SubsystemNQN, target.HostNQN, oneLine(l.errs))
}

// oneLine is errors.Join for messages of which people see the first line.
type oneLine []error

func (e oneLine) Error() string {
	var all []string
	for _, err := range e {
		all = append(all, err.Error())
	}
	return strings.Join(all, "; ")
}

func (e oneLine) Unwrap() []error { return e }

// settle waits for those still connecting, but not long.
func (l *nvmeConnects) settle(ctx context.Context, grace time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	for len(l.waiting) > 0 {
		select {
		case r := <-l.results:
			l.note(r)
		case <-ctx.Done():
			return
		}
	}
}

// trouble says which paths are missing; empty if none is.
func (l *nvmeConnects) trouble(v nvmeView) string {
	all := slices.Clone(l.notes)
	for _, c := range v.controllers {
		if !c.live() {
			all = append(all, fmt.Sprintf("no path at this moment through portal %s: controller %s is %s", c.portal, c.name, c.state))
		}
	}
	for _, err := range l.errs {
		all = append(all, "no path through "+err.Error())
	}
	for _, p := range l.waiting {
		all = append(all, fmt.Sprintf("no path yet through portal %s, which has not answered", p))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "; ")
}

func (l *nvmeConnects) stop() {
	if l.cancel != nil {
		l.cancel()
	}
}
