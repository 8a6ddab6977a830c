package drbd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"github.com/volbridge/volbridge/blockdev/drbdtools"
	"github.com/volbridge/volbridge/internal/units"
	"github.com/volbridge/volbridge/lab/drbdsim"
	"github.com/volbridge/volbridge/pool"
)

func TestMain(m *testing.M) {
	drbdsim.Main()
	if os.Getenv(killedEnv) != "" {
		os.Exit(killed())
	}
	goleak.VerifyTestMain(m)
}

var (
	hostA = pool.Host{Name: "kvm01", ID: "id-a"}
	hostB = pool.Host{Name: "kvm02", ID: "id-b"}
	web   = pool.Owner{UUID: "d0000000-0000-4000-8000-000000000001", Name: "web"}
	db    = pool.Owner{UUID: "d0000000-0000-4000-8000-000000000002", Name: "db"}
)

const (
	boot = "boot-1"
	size = 1 << 20
)

// settings are those of one host of a cluster.
func settings(c drbdsim.Cluster, node string) *Settings {
	return &Settings{Timeout: units.Duration(20 * time.Second), Tools: c.Tools(node), Sys: c.Sys(node),
		RunDir: filepath.Join(c.Dir, node, "run"), Node: node}
}

// pair is two hosts with one resource.
type pair struct {
	*testing.T
	drbdsim.Cluster
	a, b *backend
	ctx  context.Context // of the calls
}

func newPair(t *testing.T) *pair {
	t.Helper()
	c, err := drbdsim.New(t.TempDir(), os.Args[0], "kvm01", "kvm02")
	if err := errors.Join(err, c.Add("r0", 3, size, "kvm01", "kvm02")); err != nil {
		t.Fatal(err)
	}
	p := &pair{T: t, Cluster: c, ctx: t.Context()}
	p.a, p.b = p.open("kvm01"), p.open("kvm02")
	return p
}

func (p *pair) open(node string) *backend {
	p.Helper()
	b, err := Driver.Open("p", settings(p.Cluster, node), logrus.NewEntry(logrus.New()))
	p.must(err)
	return b.(*backend)
}

func (p *pair) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *pair) change(f func(r *drbdsim.Resource, a, b *drbdsim.Replica)) {
	p.Helper()
	p.must(p.Change(func(s *drbdsim.State) error {
		r := s.Resources["r0"]
		f(r, r.Hosts["kvm01"], r.Hosts["kvm02"])
		return nil
	}))
}

// is fails unless roles and two primaries are so: "Primary/Secondary" or
// "Primary/Primary two".
func (p *pair) is(want string) {
	p.Helper()
	s, err := p.State()
	p.must(err)
	a, b := s.Resources["r0"].Hosts["kvm01"], s.Resources["r0"].Hosts["kvm02"]
	got := a.Role + "/" + b.Role
	if a.Two || b.Two {
		got += " two"
	}
	if a.Protocol != b.Protocol || !a.Two && a.Protocol != s.Resources["r0"].Protocol {
		got += " protocol " + a.Protocol + b.Protocol
	}
	if got != want {
		p.Errorf("it is %s, want %s", got, want)
	}
}

func (p *pair) grant(b *backend, h pool.Host, o pool.Owner, m pool.AccessMode) error {
	_, err := b.Grant(p.ctx, request(h, o, m))
	return err
}

func request(h pool.Host, o pool.Owner, m pool.AccessMode) pool.GrantRequest {
	return pool.GrantRequest{Volume: "r0", Host: h, Owner: o, Mode: m, BootID: boot}
}

// announced is for a guest that is to come.
func announced(h pool.Host, o pool.Owner) pool.GrantRequest {
	q := request(h, o, pool.Handover)
	q.Pending = true
	return q
}

func (p *pair) revoke(b *backend, h pool.Host) error {
	return b.Revoke(p.ctx, pool.RevokeRequest{Volume: "r0", Host: h, BootIDs: []string{boot}})
}

// cluster is a backend for the conformance suite: it goes to the host that a
// request is of, and knows what all hosts wrote down.
type cluster struct {
	drbdsim.Cluster
	pool  string
	hosts map[string]pool.Host // by node, as they were seen
}

// The nodes of the suite, by the id of a host.
var nodes = func() map[string]string {
	m := map[string]string{
		"6a0d6f0e-0000-4000-8000-000000000001": "kvm01",
		"6a0d6f0e-0000-4000-8000-000000000002": "kvm02",
		"6a0d6f0e-0000-4000-8000-000000000003": "twin",
	}
	for i := range 10 {
		m[fmt.Sprintf("6a0d6f0e-0000-4000-8000-1000000000%02d", i)] = fmt.Sprintf("racer%02d", i)
	}
	return m
}()

func nodeNames() (all []string) {
	for _, node := range nodes {
		all = append(all, node)
	}
	slices.Sort(all)
	return all
}

func (c *cluster) on(node string) *backend {
	b, err := open(c.pool, settings(c.Cluster, node))
	if err != nil {
		panic(err)
	}
	return b
}

// of is the backend of the host that asks; any for one that cannot ask.
func (c *cluster) of(h pool.Host) *backend {
	node, ok := nodes[h.ID]
	if !ok {
		node = "kvm01"
	}
	c.hosts[node] = h
	return c.on(node)
}

func (c *cluster) Lookup(ctx context.Context, name string) (pool.Volume, error) {
	v, err := c.on("kvm01").Lookup(ctx, name)
	return c.decorate(v, err)
}

func (c *cluster) LookupPath(ctx context.Context, path string) (pool.Volume, error) {
	v, err := c.on("kvm01").LookupPath(ctx, path)
	return c.decorate(v, err)
}

func (c *cluster) List(ctx context.Context) ([]pool.Volume, error) {
	all, err := c.on("kvm01").List(ctx)
	for i := range all {
		if all[i], err = c.decorate(all[i], err); err != nil {
			return nil, err
		}
	}
	return all, err
}

func (c *cluster) Grant(ctx context.Context, r pool.GrantRequest) (pool.Connection, error) {
	conn, err := c.of(r.Host).Grant(ctx, r)
	var held *pool.HeldError
	if errors.As(err, &held) {
		for i, h := range held.Holders {
			if node, ok := strings.CutPrefix(h.Host.ID, peerID); ok {
				held.Holders[i].Host = c.hosts[node]
			}
		}
	}
	return conn, err
}

func (c *cluster) Revoke(ctx context.Context, r pool.RevokeRequest) error {
	return c.of(r.Host).Revoke(ctx, r)
}

// Holders joins what the hosts wrote down; one that holds more than its peers
// see, or less, makes it an error.
func (c *cluster) Holders(ctx context.Context, name string) ([]pool.Holder, error) {
	if _, err := c.on("kvm01").Holders(ctx, name); err != nil {
		return nil, err
	}
	s, err := c.State()
	if err != nil {
		return nil, err
	}
	var all []pool.Holder
	for _, node := range nodeNames() {
		rec, err := c.on(node).read(name)
		if err != nil {
			return nil, err
		}
		primary := s.Resources[name] != nil && s.Resources[name].Hosts[node].Role == drbdtools.Primary
		if primary && len(rec.Grants) == 0 {
			return nil, fmt.Errorf("%s is Primary for nobody", node)
		}
		all = append(all, rec.holders()...)
	}
	pool.SortHolders(all)
	return all, nil
}

func (c *cluster) Connection(ctx context.Context, name string, h pool.Host) (pool.Connection, error) {
	return c.of(h).Connection(ctx, name, h)
}

func (c *cluster) meta(name string) string { return filepath.Join(c.Dir, "made-"+name+".json") }

// decorate adds what only a pool that makes volumes knows.
func (c *cluster) decorate(v pool.Volume, err error) (pool.Volume, error) {
	if err != nil {
		return v, err
	}
	data, err := os.ReadFile(c.meta(v.Name))
	if err != nil {
		return v, err
	}
	var made pool.Volume
	err = json.Unmarshal(data, &made)
	v.CreationID, v.Created = made.CreationID, made.Created
	return v, err
}

func (c *cluster) Create(ctx context.Context, r pool.CreateRequest) (pool.Volume, error) {
	if err := errors.Join(ctx.Err(), checkName(r.Name)); err != nil {
		return pool.Volume{}, err
	}
	if v, err := c.Lookup(ctx, r.Name); err == nil {
		if v.CreationID == r.CreationID {
			return v, nil
		}
		return v, pool.ErrExists
	}
	data, err := json.Marshal(pool.Volume{CreationID: r.CreationID, Created: time.Unix(1, 0).UTC()})
	if err := errors.Join(err, os.WriteFile(c.meta(r.Name), data, 0o600)); err != nil {
		return pool.Volume{}, err
	}
	s, err := c.State()
	minor := 0
	for _, r := range s.Resources {
		minor = max(minor, r.Minor+1)
	}
	if err := errors.Join(err, c.Add(r.Name, minor, r.SizeBytes, nodeNames()...)); err != nil {
		return pool.Volume{}, err
	}
	return c.Lookup(ctx, r.Name)
}

func (c *cluster) Resize(ctx context.Context, name string, sizeBytes int64) (pool.Volume, error) {
	if err := errors.Join(ctx.Err(), checkName(name)); err != nil {
		return pool.Volume{}, err
	}
	return c.Lookup(ctx, name)
}

func (c *cluster) Delete(ctx context.Context, name, _ string) error {
	if err := errors.Join(ctx.Err(), checkName(name)); err != nil {
		return err
	}
	return c.Change(func(s *drbdsim.State) error { delete(s.Resources, name); return nil })
}
