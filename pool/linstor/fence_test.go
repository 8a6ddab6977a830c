package linstor

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	lab "github.com/volbridge/volbridge/lab/linstor"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/claims"
)

// fenceCase is a host that asks for the volume while another one fences it.
type fenceCase struct {
	name   string
	before []pool.GrantRequest
	asks   pool.GrantRequest
}

func fenceCases() []fenceCase {
	on := func(h pool.Host, m pool.AccessMode) pool.GrantRequest { return request("vm1", h, dom1, m) }
	announced, onReplica := announced(kvm02), announced(store)
	client, replica := on(kvm01, pool.Exclusive), on(store, pool.Exclusive)
	return []fenceCase{
		{"first grant of a client", nil, client},
		{"first grant of a replica", nil, replica},
		{"a client asks again", []pool.GrantRequest{client}, client},
		{"a replica asks again", []pool.GrantRequest{replica}, replica},
		{"a client asks in another mode", []pool.GrantRequest{on(kvm01, pool.Handover)}, client},
		{"handover between clients", []pool.GrantRequest{client}, on(kvm02, pool.Handover)},
		{"handover to a replica", []pool.GrantRequest{client}, on(store, pool.Handover)},
		{"handover from a replica", []pool.GrantRequest{replica}, on(kvm02, pool.Handover)},
		{"announced", []pool.GrantRequest{client}, announced},
		{"announced, and comes", []pool.GrantRequest{client, announced}, on(kvm02, pool.Handover)},
		{"announced, and comes from a replica", []pool.GrantRequest{replica, announced}, on(kvm02, pool.Handover)},
		{"announced, and comes to a replica", []pool.GrantRequest{client, onReplica}, on(store, pool.Handover)},
		{"arrived from a replica, asks again", []pool.GrantRequest{replica, on(kvm02, pool.Handover)}, on(kvm02, pool.Handover)},
	}
}

// A host asks for the volume, and is fenced: the fencing begins at each moment of
// the grant, and the grant goes on at each moment of the fencing. Without a claim
// in the end the host has no client, nor may two nodes write; a grant that failed
// has no claim; and a fencing that could see that the host has one again says it.
func TestFencingAHostThatAsks(t *testing.T) {
	for _, c := range fenceCases() {
		for n := 1; ; n++ {
			began, met := true, true
			for k := 1; began && met; k++ {
				began, met = c.meet(t, n, k)
			}
			if !began {
				break
			}
		}
	}
}

// meet lets the fencing begin before the n-th call of the grant, and the grant go
// on before the k-th call of the fencing. began and met say whether there are so
// many calls.
func (c fenceCase) meet(t *testing.T, n, k int) (began, met bool) {
	t.Helper()
	r := newRig(t, lab.Options{NoTieBreaker: true})
	here, there := r.open(t), r.open(t)
	create(t, there, "vm1")
	for _, before := range c.before {
		_, err := there.Grant(t.Context(), before)
		must(t, err)
	}
	begin, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	r.FailAt(n, lab.Fault{Then: func() { close(begin); <-goOn }})
	go func() {
		_, err := here.Grant(t.Context(), c.asks)
		done <- err
	}()
	select {
	case <-begin:
	case err := <-done:
		must(t, err)
		return false, false
	}
	var asked error
	looked := false
	r.FailAt(k, lab.Fault{Then: func() {
		met, looked = true, isLook(r.Calls()[len(r.Calls())-1])
		close(goOn)
		asked = <-done
		r.ForgetCalls()
	}})
	fenced := there.Revoke(t.Context(), pool.RevokeRequest{Volume: "vm1", Host: c.asks.Host, BootIDs: []string{"boot-1"}})
	looked = met && (looked || slices.ContainsFunc(r.Calls(), isLook))
	if r.ClearFaults(); !met {
		close(goOn)
		asked = <-done
	}
	c.judge(t, r, fmt.Sprintf("%s, fenced before call %d, goes on before call %d", c.name, n, k), k > 1, looked, asked, fenced)
	return true, met
}

// isLook: a call that shows the claims.
func isLook(c lab.Call) bool {
	return c.Method == http.MethodGet && c.Path == "/v1/resource-definitions"
}

// judge looks at what there is in the end; under: the fencing had begun when the
// grant went on; looked: it has looked at the claims since the grant was done.
func (c fenceCase) judge(t *testing.T, r rig, what string, under, looked bool, asked, fenced error) {
	t.Helper()
	d := r.volume(t, "vm1")
	notes := map[string]string{}
	for k, v := range d.Props {
		notes[strings.TrimPrefix(k, noteSpace)] = v
	}
	list := claims.Read(notes)
	claimed := slices.ContainsFunc(list, func(o claims.Claim) bool { return o.OfHost(c.asks.Host.ID) })
	again := slices.ContainsFunc(c.before, func(q pool.GrantRequest) bool { return q.Host.ID == c.asks.Host.ID })
	said := fmt.Sprintf("%s: %s; asked: %v; fenced: %v", what, r.state(t), asked, fenced)
	for wrong, is := range map[string]bool{
		"a client without a claim":                   !claimed && slices.Contains(d.Resources, c.asks.Host.Name+" diskless"),
		"two nodes may write, and one holds it":      len(nodesOf(list)) < 2 && len(d.Set)+len(readPairs(notes)) > 0,
		"a claim of a grant that failed":             claimed && asked != nil,
		"the fencing does not tell that it is alive": claimed && looked && (fenced == nil || !strings.Contains(fenced.Error(), "it is alive")),
		"a repeated grant that was fenced unseen":    again && under && asked == nil && !claimed && fenced == nil,
		"the fencing failed":                         !claimed && fenced != nil,
	} {
		if is {
			t.Errorf("%s; %s", wrong, said)
		}
	}
}
