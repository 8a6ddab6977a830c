package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/volbridge/volbridge/hooks"
)

// peerAnswer is what the peer's hook says, and when it did by this host's clock.
type peerAnswer struct {
	hooks.Facts
	refused string
	at      time.Time
}

func (e *Env) askPeer(ctx context.Context) (peerAnswer, error) {
	defer waiting(ctx, "the hook on "+e.Peer)()
	return once(ctx, e, "peer", askTime, func(ctx context.Context) (peerAnswer, error) {
		l, err := e.Remote(ctx, e.Peer)
		if err != nil {
			return peerAnswer{}, err
		}
		a, err := l.AskHost(ctx)
		if err != nil {
			return peerAnswer{}, err
		}
		facts, _ := hooks.ParseFacts(a.Facts)
		return peerAnswer{Facts: facts, refused: a.Refused, at: time.Now()}, nil
	})
}

// peerFacts are those of the peer, if there is one that answers.
func (e *Env) peerFacts(ctx context.Context) (hooks.Facts, bool) {
	if e.Peer == "" {
		return hooks.Facts{}, false
	}
	a, err := e.askPeer(ctx)
	return a.Facts, err == nil && a.ID != ""
}

func (e *Env) peerClock(ctx context.Context) *Finding {
	if e.Peer == "" {
		return nil
	}
	a, err := e.askPeer(ctx)
	if err != nil || a.ID == "" {
		return nil
	}
	apart := a.Clock.Sub(a.at)
	if apart.Abs() <= skew {
		return nil
	}
	return &Finding{Level: Warn, Seen: fmt.Sprintf("the clock of %s is %s from this host's", e.Peer, apart.Round(time.Second)), Remedy: setClock}
}

func checkPeer(ctx context.Context, e *Env) (out []Finding) {
	if e.Peer == "" {
		return skip("no --peer was given")
	}
	a, err := e.askPeer(ctx)
	switch {
	case err != nil && e.NoAnswer(err):
		return []Finding{{Level: Fail, Seen: fmt.Sprintf("libvirt on %s answers, but no hook of volbridge does: %s", e.Peer, oneLine(err.Error())),
			Remedy: "install volbridge there, and run the doctor there"}}
	case err != nil:
		return []Finding{{Level: Fail, Seen: oneLine(err.Error()), Remedy: "see that it can be reached: virsh -c " + quote(e.Peer) + " list"}}
	case a.refused != "":
		return []Finding{{Level: Fail, Seen: fmt.Sprintf("volbridge on %s cannot be used: %s", e.Peer, oneLine(a.refused)), Remedy: "run the doctor there; its volbridge may be older than this one"}}
	}
	if a.Build != e.Build {
		out = append(out, Finding{Level: Warn, Seen: fmt.Sprintf("volbridge on %s is build %s, here it is %s", e.Peer, a.Build, e.Build), Remedy: "install the same on both"})
	}
	out = append(out, e.otherPlaces(a.Facts)...)
	return append(out, e.peerPools(ctx)...)
}

// otherPlaces compares where the pools of the same name are.
func (e *Env) otherPlaces(f hooks.Facts) (out []Finding) {
	mine := hooks.FactsOf(e.Host, e.Build, e.Config, time.Now())
	for _, p := range e.Config.Pools {
		if theirs, ok := f.Pools[p.Name]; ok && theirs != mine.Pools[p.Name] {
			kind, _, _ := strings.Cut(theirs, " ")
			out = append(out, Finding{Level: Fail, Seen: fmt.Sprintf("%s is another one on %s (of type %s, at another place): a guest that moves there would find another volume, or none", poolText(p), e.Peer, kind),
				Remedy: fmt.Sprintf("give [pool.%s] the same type and place in %s on both hosts", p.Name, e.Config.Path)})
		}
	}
	return out
}

// peerPools asks the peer to serve the pools that work here.
func (e *Env) peerPools(ctx context.Context) []Finding {
	if e.HostErr != nil {
		return nil
	}
	ready, _ := e.usable(ctx)
	var names []string
	for _, p := range e.Config.Pools {
		if ready[p.Name] != nil {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	defer waiting(ctx, "the pools "+strings.Join(names, ", ")+" on "+e.Peer)()
	l, err := e.Remote(ctx, e.Peer)
	if err != nil {
		return []Finding{{Level: Fail, Seen: oneLine(err.Error()), Remedy: "see that it can be reached: virsh -c " + quote(e.Peer) + " list"}}
	}
	a, err := l.AskPools(ctx, names)
	switch {
	case err != nil:
		return []Finding{{Level: Fail, Seen: fmt.Sprintf("ask %s for its pools: %s", e.Peer, oneLine(err.Error())), Remedy: "run the doctor there"}}
	case a.Refused != "":
		return []Finding{{Level: Fail, Seen: fmt.Sprintf("%s cannot serve the pools of this host: %s", e.Peer, oneLine(a.Refused)), Remedy: "run the doctor there; the pools of the configuration must be the same on both hosts"}}
	}
	return nil
}
