// Package flash makes a FlashArray of a lab of machines: the stand-in for its
// controller answers in the lab's network, outside of the machines, and one
// machine is its data path, with the kernel's NVMe target.
//
// One thing differs from the array: the kernel's target cannot show each host
// its own namespaces under one subsystem NQN. So each host is told an NQN of
// its own, by the address that it asks from.
package flash

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/volbridge/volbridge/lab/arrays"
	"github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/machines"
	"github.com/volbridge/volbridge/lab/machines/nvmet"
	"github.com/volbridge/volbridge/lab/nvmesim/target"
)

// Options describe an array. Name must be unique in the lab.
type Options struct {
	flasharray.Options
	// Address of the management, in the lab's first network: 10.78.0.2 to
	// 10.78.0.9.
	Address string
	// Data is the machine that is the data path.
	Data *machines.Node
	// Hosts are the KVM hosts that the array knows, each with its NQN.
	Hosts map[*machines.Node]string
	// Around makes what the array tells who sees what, in place of the data
	// path itself; nil: the data path.
	Around func(*DataPath) flasharray.DataPath
}

// Running is an array that answers.
type Running struct {
	*flasharray.Array
	*DataPath
	Address string

	o      Options
	lab    *machines.Lab
	server *http.Server
	served chan error
}

// Start starts an array; Close it before the lab.
func Start(ctx context.Context, l *machines.Lab, o Options) (*Running, error) {
	r := &Running{Address: o.Address, o: o, lab: l, served: make(chan error, 1)}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start array %s: %w", o.Name, err), r.Close())
	}
	return r, nil
}

func (r *Running) start(ctx context.Context) error {
	cert, ca, err := arrays.Certificate(r.Address)
	if err != nil {
		return err
	}
	r.DataPath = newDataPath(ctx, r.o.Data, nvmet.Array{
		NQN: "nqn.2010-06.com.purestorage:flasharray." + r.o.Name, Model: "Pure Storage FlashArray",
		Serial: r.o.Name, Portals: r.o.Data.Portals(),
	})
	byAddress := map[string]string{}
	for h, nqn := range r.o.Hosts {
		byAddress[h.Address()] = nqn
		if err := r.order(nvmet.Order{Do: nvmet.AddHost, Host: nqn}); err != nil {
			return err
		}
		if err := h.WriteFile(ctx, r.CAFile(), ca, 0o644); err != nil {
			return err
		}
	}
	r.o.Portals = []string{r.o.Data.Portal(1), r.o.Data.Portal(2)}
	r.o.Options.DataPath = r.DataPath
	if r.o.Around != nil {
		r.o.Options.DataPath = r.o.Around(r.DataPath)
	}
	r.o.SubsystemFor = func(caller string) string { return r.array.SubsystemNQN(byAddress[caller]) }
	r.Array = flasharray.New(r.o.Options)
	for h, nqn := range r.o.Hosts {
		r.AddHost(h.Name(), nqn)
	}
	if out, err := r.lab.Command(ctx, "ip", "address", "replace", r.Address+"/24", "dev", "br0").CombinedOutput(); err != nil {
		return fmt.Errorf("give the lab's bridge %s: %w: %s", r.Address, err, out)
	}
	return r.serve(ctx, cert)
}

func (r *Running) serve(ctx context.Context, cert tls.Certificate) error {
	l, err := target.ListenIn(ctx, r.lab.PID(), r.Address+":443")
	if err != nil {
		return err
	}
	r.server = &http.Server{Handler: r.Array}
	secure := tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12})
	go func() { r.served <- r.server.Serve(secure) }()
	return nil
}

// CAFile is where every host has the certificate of the management.
func (r *Running) CAFile() string { return "/etc/volbridge/" + r.o.Name + "-ca.pem" }

// PoolConfig is the section of volbridge.toml for a pool on this array; more
// are further lines of it.
func (r *Running) PoolConfig(pool string, more ...string) string {
	lines := []string{"[pool." + pool + "]", `type = "flasharray"`, fmt.Sprintf("address = %q", r.Address),
		fmt.Sprintf("api_token = %q", flasharray.TestToken), fmt.Sprintf("ca_file = %q", r.CAFile()),
		`call_timeout = "2m"`} // a call is answered when the array's machine has done it, which is emulated
	return strings.Join(append(lines, more...), "\n") + "\n"
}

// Close stops answering. The data path goes with its machine.
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
