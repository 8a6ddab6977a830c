// Package clusters runs a LINSTOR cluster in a lab: the stand-in for its
// controller answers at an address of the lab's network, and its nodes are the
// lab's hosts, whose DRBD is played with loop devices.
//
// # What is played, and what is not
//
// All replicas of a volume are one file. Each host that has the volume has two
// loop devices on that file, one that can be written and one that cannot, and
// /dev/drbd1001 is the node of one of them: the writable one while the host is
// Primary. So the rule of DRBD, one writer unless two primaries are allowed, is
// kept by the kernel, and a QEMU that may not write says that its disk is not
// writable: at a cold start at once, on the destination of a migration when it is
// to go on, for until then it only reads. (A
// loop device that is made read-only with BLKROSET would stay so for whoever
// gets it next, if this process is killed.)
//
// DRBD 9 becomes Primary when a device is opened; here a node becomes it when
// the controller makes the volume available on it, or allows it beside the
// other. Who has the device open stays what it is, everybody else yields. With
// two primaries no longer allowed, the one that was made available last stays if
// neither has the device open.
//
// Not played: replication, connections that break, disks that fail, and that
// DRBD does not even let a Secondary be opened for reading.
package clusters

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/arrays"
	"github.com/volbridge/volbridge/lab/drbdsim"
	"github.com/volbridge/volbridge/lab/linstor"
	"github.com/volbridge/volbridge/lab/nvmesim/target"
)

// Options describe a cluster in a lab, which can have one.
type Options struct {
	linstor.Options
	// Address of the controller, "" is 10.77.0.4.
	Address string
	// Storage are the nodes with a storage pool, none: all hosts. Those that
	// are no hosts of the lab only store.
	Storage []string
	// Replicas of each volume, 0: one on each node with storage.
	Replicas int
}

// Group is the resource group that each cluster has.
const Group = "kvm"

// Running is a cluster that the lab's hosts can reach. The data of its volumes
// is in the lab's directory.
type Running struct {
	*linstor.Controller
	*Nodes
	Address string

	lab    *lab.Lab
	o      Options
	server *http.Server
	served chan error
}

// Start starts a cluster. Close it before the lab; if nobody does, its sockets
// go with this process and its devices with the lab.
func Start(ctx context.Context, l *lab.Lab, o Options) (*Running, error) {
	r := &Running{lab: l, o: o, Address: o.Address, served: make(chan error, 1)}
	if r.Address == "" {
		r.Address = "10.77.0.4"
	}
	if len(o.Storage) == 0 {
		for _, h := range l.Hosts() {
			r.o.Storage = append(r.o.Storage, h.Name())
		}
	}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start the cluster at %s: %w", r.Address, err), r.Close())
	}
	return r, nil
}

func (r *Running) start(ctx context.Context) error {
	if err := r.makeNodes(ctx); err != nil {
		return err
	}
	r.o.Satellites = r.Nodes
	r.Controller = linstor.New(r.o.Options)
	r.addNodes()
	cert, ca, err := arrays.Certificate(r.Address)
	if err != nil {
		return err
	}
	for _, h := range r.lab.Hosts() {
		if err := r.introduce(h, ca); err != nil {
			return err
		}
	}
	if out, err := r.lab.Command(ctx, "ip", "address", "replace", r.Address+"/24", "dev", "br0").CombinedOutput(); err != nil {
		return fmt.Errorf("give the lab's bridge %s: %w: %s", r.Address, err, out)
	}
	return r.serve(ctx, cert)
}

// makeNodes builds the tools of DRBD and gives them to each host.
func (r *Running) makeNodes(ctx context.Context) error {
	dir := filepath.Join(r.lab.Dir(), "drbd")
	tool := filepath.Join(dir, "drbdtool")
	build := exec.CommandContext(ctx, "go", "build", "-o", tool, "github.com/volbridge/volbridge/lab/clusters/drbdtool")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // any host's root runs it
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the tools of DRBD: %w\n%s", err, out)
	}
	var hosts []string
	for _, h := range r.lab.Hosts() {
		hosts = append(hosts, h.Name())
	}
	state, err := drbdsim.New(dir, tool, hosts...)
	if err != nil {
		return err
	}
	r.Nodes, err = newNodes(ctx, state, hosts, r.hostRoot)
	return err
}

func (r *Running) addNodes() {
	var names []string
	for _, h := range r.lab.Hosts() {
		names = append(names, h.Name())
	}
	for _, name := range r.o.Storage {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, name := range names {
		var pools []linstor.Pool
		if slices.Contains(r.o.Storage, name) {
			// Extents of 4 MiB, as LVM has them.
			pools = append(pools, linstor.Pool{Name: "thin", Kind: "LVM_THIN", TotalKiB: 1 << 30, ExtentKiB: 4096})
		}
		r.AddNode(name, pools...)
	}
	replicas := r.o.Replicas
	if replicas == 0 {
		replicas = len(r.o.Storage)
	}
	r.AddGroup(linstor.Group{Name: Group, PlaceCount: replicas})
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

// PoolConfig is the section of volbridge.toml for a pool of the cluster.
func (r *Running) PoolConfig(pool string) string {
	return fmt.Sprintf("[pool.%s]\ntype = \"linstor\"\ncontrollers = [\"https://%s:%s\"]\nresource_group = %q\nca_file = %q\n",
		pool, r.Address, port, Group, caFile)
}

// Close takes the volumes' devices from the hosts and stops answering.
func (r *Running) Close() error {
	var errs []error
	if r.server != nil {
		errs = append(errs, r.server.Close())
		if err := <-r.served; !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, err)
		}
	}
	if r.Nodes != nil {
		errs = append(errs, r.Nodes.close())
	}
	return errors.Join(errs...)
}
