// Package daemon is a real libvirt daemon as package migrate sees one.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"libvirt.org/go/libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/virt"
	"github.com/volbridge/volbridge/migrate"
)

// Daemon is a connection to one libvirt daemon. It implements
// migrate.Hypervisor.
type Daemon struct {
	uri  string
	conn *libvirt.Connect
	lost chan struct{} // closed when the daemon has gone
}

// Open connects to the daemon at uri.
func Open(ctx context.Context, uri string) (*Daemon, error) {
	conn, err := within(ctx, func() (*libvirt.Connect, error) { return virt.Open(uri) })
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", uri, plain(err))
	}
	d := &Daemon{uri: uri, conn: conn, lost: make(chan struct{})}
	var once sync.Once
	err = conn.RegisterCloseCallback(func(*libvirt.Connect, libvirt.ConnectCloseReason) {
		once.Do(func() { close(d.lost) })
	})
	if err != nil && !virt.IsCode(err, libvirt.ERR_NO_SUPPORT) {
		return nil, errors.Join(fmt.Errorf("watch the connection to %s: %w", uri, plain(err)), d.Close())
	}
	return d, nil
}

// Dial is Open for those who want the interface: its value is nil, not a nil
// pointer, after an error.
func Dial(ctx context.Context, uri string) (migrate.Hypervisor, error) {
	d, err := Open(ctx, uri)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// URI is what was connected to.
func (d *Daemon) URI() string { return d.uri }

// Close ends the connection.
func (d *Daemon) Close() error {
	_, err := d.conn.Close()
	return plain(err)
}

// Host asks for the host's name and libvirt's UUID of it.
func (d *Daemon) Host(ctx context.Context) (migrate.HostInfo, error) {
	return within(ctx, func() (migrate.HostInfo, error) {
		name, err := d.conn.GetHostname()
		if err != nil {
			return migrate.HostInfo{}, fmt.Errorf("host name of %s: %w", d.uri, plain(err))
		}
		text, err := d.conn.GetCapabilities()
		if err != nil {
			return migrate.HostInfo{}, fmt.Errorf("capabilities of %s: %w", d.uri, plain(err))
		}
		var caps libvirtxml.Caps
		if err := caps.Unmarshal(text); err != nil {
			return migrate.HostInfo{}, fmt.Errorf("read the capabilities of %s: %w", d.uri, err)
		}
		return migrate.HostInfo{Name: name, UUID: caps.Host.UUID}, nil
	})
}

// Resolve finds a domain's UUID and name by name, UUID or id.
func (d *Daemon) Resolve(ctx context.Context, ref string) (uuid, name string, err error) {
	found, err := within(ctx, func() (found [2]string, err error) {
		dom, err := virt.Domain(d.conn, ref)
		if err != nil {
			return found, noGuest(err)
		}
		defer dom.Free()
		if found[0], err = dom.GetUUIDString(); err == nil {
			found[1], err = dom.GetName()
		}
		return found, plain(err)
	})
	return found[0], found[1], err
}

// Guest describes a domain found by name, UUID or id.
func (d *Daemon) Guest(ctx context.Context, ref string) (migrate.Guest, error) {
	return within(ctx, func() (migrate.Guest, error) {
		dom, err := virt.Domain(d.conn, ref)
		if err != nil {
			return migrate.Guest{}, noGuest(err)
		}
		defer dom.Free()
		return describe(dom)
	})
}

func describe(dom *libvirt.Domain) (g migrate.Guest, err error) {
	if g.UUID, err = dom.GetUUIDString(); err != nil {
		return g, plain(err)
	}
	if g.Name, err = dom.GetName(); err != nil {
		return g, plain(err)
	}
	if g.Active, err = dom.IsActive(); err != nil {
		return g, plain(err)
	}
	if g.Persistent, err = dom.IsPersistent(); err != nil {
		return g, plain(err)
	}
	if g.Snapshots, err = dom.SnapshotNum(0); err != nil {
		return g, fmt.Errorf("count its snapshots: %w", plain(err))
	}
	const readable = libvirt.DOMAIN_XML_SECURE | libvirt.DOMAIN_XML_MIGRATABLE
	if g.Persistent {
		if g.StoredXML, err = dom.GetXMLDesc(readable | libvirt.DOMAIN_XML_INACTIVE); err != nil {
			return g, plain(err)
		}
	}
	if !g.Active {
		return g, nil
	}
	id, err := dom.GetID()
	if err != nil {
		return g, plain(err)
	}
	g.ID = int(id)
	if g.LiveXML, err = dom.GetXMLDesc(readable); err != nil {
		return g, plain(err)
	}
	if g.Job, err = jobOf(dom); err != nil {
		return g, err
	}
	return g, describeDisks(dom, &g)
}

// describeDisks asks for sizes and block jobs. A size that libvirt does not
// tell stays unknown: the plan refuses to copy such a disk.
func describeDisks(dom *libvirt.Domain, g *migrate.Guest) error {
	doc, err := domainxml.Parse([]byte(g.LiveXML))
	if err != nil {
		return err
	}
	g.BlockJobs, g.DiskBytes = map[string]string{}, map[string]int64{}
	for _, disk := range doc.Disks() {
		if disk.Empty() {
			continue
		}
		if info, err := dom.GetBlockInfo(disk.Target, 0); err == nil {
			g.DiskBytes[disk.Target] = int64(info.Capacity)
		}
		if job, err := dom.GetBlockJobInfo(disk.Target, 0); err == nil && job.Type != 0 {
			g.BlockJobs[disk.Target] = blockJobName(job.Type)
		}
	}
	return nil
}

func blockJobName(t libvirt.DomainBlockJobType) string {
	names := map[libvirt.DomainBlockJobType]string{
		libvirt.DOMAIN_BLOCK_JOB_TYPE_PULL:          "block pull",
		libvirt.DOMAIN_BLOCK_JOB_TYPE_COPY:          "block copy",
		libvirt.DOMAIN_BLOCK_JOB_TYPE_COMMIT:        "block commit",
		libvirt.DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT: "active block commit",
		libvirt.DOMAIN_BLOCK_JOB_TYPE_BACKUP:        "backup",
	}
	if n, ok := names[t]; ok {
		return n
	}
	return fmt.Sprintf("block job of type %d", t)
}

// LiveXML returns the running definition, and never the stored one: libvirt gives
// that of a domain which has just stopped.
func (d *Daemon) LiveXML(ctx context.Context, uuid string) (string, error) {
	return within(ctx, func() (string, error) {
		dom, err := d.conn.LookupDomainByUUIDString(uuid)
		if err != nil {
			return "", noGuest(err)
		}
		defer dom.Free()
		s, err := dom.GetXMLDesc(libvirt.DOMAIN_XML_SECURE | libvirt.DOMAIN_XML_MIGRATABLE)
		if err != nil {
			return "", plain(err)
		}
		switch active, err := dom.IsActive(); {
		case err != nil:
			return "", plain(err)
		case !active:
			return "", fmt.Errorf("domain %s does not run", uuid)
		}
		return s, nil
	})
}

// Define replaces the stored definition of a domain.
func (d *Daemon) Define(ctx context.Context, xml string) error {
	_, err := within(ctx, func() (struct{}, error) {
		dom, err := d.conn.DomainDefineXML(xml)
		if err != nil {
			return struct{}{}, fmt.Errorf("write the stored definition on %s: %w", d.uri, plain(err))
		}
		return struct{}{}, plain(dom.Free())
	})
	return err
}

// within runs a libvirt call, which knows no deadline, under ctx. A call that
// outlives ctx ends with its connection.
func within[T any](ctx context.Context, call func() (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	done := make(chan answer, 1)
	go func() {
		v, err := call()
		done <- answer{v, err}
	}()
	select {
	case a := <-done:
		return a.v, a.err
	case <-ctx.Done():
		var zero T
		return zero, fmt.Errorf("libvirt has not answered: %w", context.Cause(ctx))
	}
}

// wordsError shows libvirt's own words without the binding's decoration.
type wordsError struct{ of libvirt.Error }

func (e wordsError) Error() string { return "libvirt: " + strings.TrimSpace(e.of.Message) }
func (e wordsError) Unwrap() error { return e.of }

func plain(err error) error {
	var words wordsError
	var e libvirt.Error
	if !errors.As(err, &words) && errors.As(err, &e) {
		return wordsError{e}
	}
	return err
}

func noGuest(err error) error {
	if errors.Is(err, virt.ErrNoDomain) {
		return fmt.Errorf("%w: %w", migrate.ErrNoGuest, err)
	}
	var e libvirt.Error
	if errors.As(err, &e) && e.Code == libvirt.ERR_NO_DOMAIN {
		return fmt.Errorf("%w: %s", migrate.ErrNoGuest, e.Message)
	}
	return plain(err)
}
