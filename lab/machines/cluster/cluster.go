// Package cluster makes a LINSTOR cluster of a lab of machines: the stand-in
// for its controller answers in the lab's network, outside of the machines, and
// its nodes are KVM hosts with the kernel's DRBD.
//
// Two things differ from a LINSTOR cluster. The kernel brings DRBD 8.4, which
// knows two nodes, and which does not promote itself when a device is opened:
// see Nodes.
package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"

	"github.com/volbridge/volbridge/lab/arrays"
	"github.com/volbridge/volbridge/lab/linstor"
	"github.com/volbridge/volbridge/lab/machines"
	"github.com/volbridge/volbridge/lab/nvmesim/target"
)

// Options describe a cluster.
type Options struct {
	linstor.Options
	// Address of the controller, in the lab's first network: 10.78.0.2 to
	// 10.78.0.9.
	Address string
	// Hosts are its nodes, two of them.
	Hosts []*machines.Node
}

// Group is the resource group that each cluster has, with one replica. Replicas
// begins a group with two.
const (
	Group    = "kvm"
	Replicas = "kvm2"
)

// Running is a cluster that answers.
type Running struct {
	*linstor.Controller
	*Nodes
	Address string

	o      Options
	lab    *machines.Lab
	server *http.Server
	served chan error
}

// Start starts a cluster; Close it before the lab.
func Start(ctx context.Context, l *machines.Lab, o Options) (*Running, error) {
	r := &Running{Address: o.Address, o: o, lab: l, served: make(chan error, 1)}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start the cluster at %s: %w", o.Address, err), r.Close())
	}
	return r, nil
}

func (r *Running) start(ctx context.Context) error {
	cert, ca, err := arrays.Certificate(r.Address)
	if err != nil {
		return err
	}
	r.Nodes = newNodes(ctx, r.o.Hosts)
	r.o.Satellites = r.Nodes
	r.Controller = linstor.New(r.o.Options)
	for _, h := range r.o.Hosts {
		if err := h.WriteFile(ctx, caFile, ca, 0o644); err != nil {
			return err
		}
		// Extents of 4 MiB, as LVM has them: sizes are rounded up.
		r.AddNode(h.Name(), linstor.Pool{Name: "thin", Kind: "LVM_THIN", TotalKiB: 1 << 30, ExtentKiB: 4096})
	}
	r.AddGroup(linstor.Group{Name: Group, PlaceCount: 1})
	r.AddGroup(linstor.Group{Name: Replicas, PlaceCount: 2})
	if out, err := r.lab.Command(ctx, "ip", "address", "replace", r.Address+"/24", "dev", "br0").CombinedOutput(); err != nil {
		return fmt.Errorf("give the lab's bridge %s: %w: %s", r.Address, err, out)
	}
	return r.serve(ctx, cert)
}

// port of the controller over TLS.
const port = "3371"

func (r *Running) serve(ctx context.Context, cert tls.Certificate) error {
	l, err := target.ListenIn(ctx, r.lab.PID(), r.Address+":"+port)
	if err != nil {
		return err
	}
	r.server = &http.Server{Handler: r.Controller}
	secure := tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12})
	go func() { r.served <- r.server.Serve(secure) }()
	return nil
}

// caFile is where every host has the certificate of the controller.
const caFile = "/etc/volbridge/linstor-ca.pem"

// PoolConfig is the section of volbridge.toml for a pool in a resource group. A
// call is answered when the nodes have done it, which are emulated.
func (r *Running) PoolConfig(pool, group string) string {
	return fmt.Sprintf("[pool.%s]\ntype = \"linstor\"\ncontrollers = [\"https://%s:%s\"]\nresource_group = %q\nca_file = %q\ncall_timeout = \"2m\"\n",
		pool, r.Address, port, group, caFile)
}

// Close stops answering. The data goes with its machines.
func (r *Running) Close() error {
	if r.server == nil {
		return nil
	}
	err := r.server.Close()
	if served := <-r.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
