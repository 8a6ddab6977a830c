package scenario

import (
	"context"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/internal/testenv"
	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/labtest"
)

// both starts two hosts of one release.
func both(t *testing.T, release string) *cluster {
	t.Helper()
	testenv.NeedRoot(t)
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	l := labtest.Start(t, lab.Options{Hosts: []lab.HostOptions{host("kvm01", release), host("kvm02", release)}})
	c := &cluster{T: t, ctx: ctx, lab: l, a: l.Host("kvm01"), b: l.Host("kvm02")}
	for _, h := range l.Hosts() {
		c.install(h)
	}
	for _, p := range []string{"fast", "exact"} {
		c.on(c.a, "volbridge", "pool", "init", p)
	}
	return c
}

func (c *cluster) allocated(path string) int64 {
	c.Helper()
	var st unix.Stat_t
	c.must(unix.Stat(path, &st))
	return st.Blocks * 512
}

// A thin disk stays thin when it is copied, whatever libvirt and QEMU do by
// themselves, and the copy is exact.
func TestThinDiskStaysThin(t *testing.T) {
	const diskBytes = 512 * mib
	for name, release := range map[string]string{"Debian 12": "", "Debian 13": lab.Trixie} {
		t.Run(name, func(t *testing.T) {
			c := both(t, release)
			path := "/var/lib/libvirt/images/web1.raw"
			outside := filepath.Join(c.a.ImagesDir(), "web1.raw")
			c.must(lab.WriteTickImage(c.ctx, outside, "raw", diskBytes, 7))
			sum, err := lab.HashUntouched(c.ctx, outside, "raw", diskBytes)
			c.must(err)
			data := c.allocated(outside)
			g := &guest{name: "web1", uuid: newUUID(), boot: outside, format: "raw", sum: sum}
			c.define(c.a, c.xml(g, lab.FileDisk("vda", "raw", path)))
			c.on(c.a, "virsh", "start", g.name)
			c.ticks(g)
			c.on(c.a, "volbridge", "migrate", g.name, c.b.URI(), "--to-pool", "exact")
			c.runsOnlyOn(g, c.b)
			raw := c.raw("exact", "web1-vda")
			got := c.allocated(raw)
			t.Logf("%d bytes of data became %d bytes allocated, %.2f×", data, got, float64(got)/float64(data))
			if got > data*12/10 {
				t.Errorf("%d bytes are allocated for %d bytes of data", got, data)
			}
			c.stopAndCheck(g, c.b, raw, "raw", diskBytes)
			c.nothingLeft("exact/web1-vda")
		})
	}
}
