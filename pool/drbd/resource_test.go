package drbd

import (
	"errors"
	"strings"
	"testing"

	"github.com/volbridge/volbridge/blockdev/drbdtools"
	"github.com/volbridge/volbridge/lab/drbdsim"
	"github.com/volbridge/volbridge/pool"
)

// TestProblem: a resource that is not understood is refused, and is not one that
// does not exist, for a guest on that would start unprotected. The others work.
func TestProblem(t *testing.T) {
	p := newPair(t)
	p.must(p.Add("odd", 4, size, "kvm01", "kvm02"))
	p.must(p.Change(func(s *drbdsim.State) error { s.Resources["odd"].Protocol = "D"; return nil }))
	_, err := p.a.LookupPath(t.Context(), "/dev/drbd/by-res/odd/0")
	if err == nil || errors.Is(err, pool.ErrNotFound) || !strings.Contains(err.Error(), "drbdadm dump odd") {
		t.Errorf("looked up: %v", err)
	}
	// Of which hosts it is is not known either.
	p.must(p.Change(func(s *drbdsim.State) error { delete(s.Resources["odd"].Hosts, "kvm01"); return nil }))
	if _, err := p.a.Lookup(t.Context(), "odd"); err == nil || errors.Is(err, pool.ErrNotFound) {
		t.Errorf("not of this host: %v", err)
	}
	all, err := p.a.List(t.Context())
	if err == nil || len(all) != 1 {
		t.Errorf("%+v, %v", all, err)
	}
	p.must(p.grant(p.a, hostA, web, pool.Exclusive))
	p.must(p.revoke(p.a, hostA))
	if err := suitable(drbdtools.Resource{Name: "r", Hosts: []string{"kvm01"}, Volumes: []int{0}, Protocol: "C", Problem: "x"}); err == nil {
		t.Error("suitable")
	}
}
