// Package arrays runs FlashArray stand-ins in a lab: their management answers
// at an address of the lab's network, and the hosts reach their volumes over
// the NVMe that package nvmesim plays.
package arrays

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/volbridge/volbridge/lab"
	"github.com/volbridge/volbridge/lab/flasharray"
	"github.com/volbridge/volbridge/lab/nvmesim"
	"github.com/volbridge/volbridge/lab/nvmesim/target"
)

// Options describe an array in a lab. Name must be unique there.
type Options struct {
	flasharray.Options
	// Address of the management, "" is the lab's bridge. A second array takes
	// one of the free ones, 10.77.0.2 to 10.77.0.9.
	Address string
	// Strangers: the lab's hosts are not made on the array.
	Strangers bool
}

// Running is an array that the lab's hosts can reach. All its volumes' backing
// files are in the lab's directory.
type Running struct {
	*flasharray.Array
	Target  *target.Target
	Address string   // of the management, port 443
	Portals []string // address:port

	lab    *lab.Lab
	o      Options
	server *http.Server
	served chan error
}

const portalPort = "4420"

// Start starts an array. Close it before the lab; if nobody does, its sockets
// go with this process and its devices with the lab.
func Start(ctx context.Context, l *lab.Lab, o Options) (*Running, error) {
	r := &Running{lab: l, o: o, Address: o.Address, served: make(chan error, 1)}
	if r.o.Name == "" {
		r.o.Name = "flash1"
	}
	if r.Address == "" {
		r.Address = lab.BridgeAddress
	}
	if len(o.Portals) == 0 {
		r.o.Portals = []string{r.Address}
	}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start array %s: %w", r.o.Name, err), r.Close())
	}
	return r, nil
}

func (r *Running) start(ctx context.Context) error {
	if err := r.makeArray(); err != nil {
		return err
	}
	cert, ca, err := Certificate(r.Address)
	if err != nil {
		return err
	}
	for _, h := range r.lab.Hosts() {
		if err := r.introduce(h, ca); err != nil {
			return err
		}
	}
	for _, address := range append([]string{r.Address}, r.o.Portals...) {
		if out, err := r.lab.Command(ctx, "ip", "address", "replace", address+"/24", "dev", "br0").CombinedOutput(); err != nil {
			return fmt.Errorf("give the lab's bridge %s: %w: %s", address, err, out)
		}
	}
	for _, address := range r.o.Portals {
		r.Portals = append(r.Portals, address+":"+portalPort)
		if err := r.Target.Listen(ctx, r.lab.PID(), address+":"+portalPort); err != nil {
			return err
		}
	}
	return r.serve(ctx, cert)
}

func (r *Running) makeArray() error {
	r.o.Dir = filepath.Join(r.lab.Dir(), "arrays", r.o.Name)
	if err := os.MkdirAll(r.o.Dir, 0o755); err != nil {
		return err
	}
	if r.o.SubsystemNQN == "" {
		r.o.SubsystemNQN = "nqn.2010-06.com.purestorage:flasharray." + strings.ToLower(r.o.Name)
	}
	var err error
	r.Target, err = target.New(target.Options{
		SubsystemNQN: r.o.SubsystemNQN,
		Host:         r.hostRoot,
		Knows:        func(nqn string) bool { return r.Array.Knows(nqn) },
	})
	if err != nil {
		return err
	}
	r.o.DataPath = r.Target
	r.Array = flasharray.New(r.o.Options)
	return nil
}

// serve answers in the lab's network. Like the array it speaks HTTP/1.1 only.
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

// hostRoot is target.Options.Host.
func (r *Running) hostRoot(name string) (string, error) {
	pid, err := lab.FindHost(r.lab.Dir(), name)
	if err != nil {
		return "", err
	}
	root := "/proc/" + pid + "/root"
	_, err = os.Stat(root + nvmesim.Marker)
	return root, err
}

// introduce prepares a host for arrays, and this array for the host.
func (r *Running) introduce(h *lab.Host, ca []byte) error {
	for path, data := range map[string]string{
		nvmesim.Marker:      "",
		"/etc/nvme/hostnqn": HostNQN(h) + "\n",
		r.CAFile():          string(ca),
	} {
		if err := h.WriteFile(path, []byte(data), 0o644); err != nil {
			return err
		}
	}
	if !r.o.Strangers {
		r.AddHost(h.Name(), HostNQN(h))
	}
	return nil
}

// HostNQN is the NVMe name of a lab's host.
func HostNQN(h *lab.Host) string {
	s := sha256.Sum256([]byte(h.Name()))
	return fmt.Sprintf("nqn.2014-08.org.nvmexpress:uuid:%x-%x-%x-%x-%x", s[:4], s[4:6], s[6:8], s[8:10], s[10:16])
}

// CAFile is where every host has the certificate of the management.
func (r *Running) CAFile() string { return "/etc/volbridge/" + r.o.Name + "-ca.pem" }

// PoolConfig is the section of volbridge.toml for a pool on this array; more
// are further lines of it.
func (r *Running) PoolConfig(pool string, more ...string) string {
	token := r.o.APIToken
	if token == "" {
		token = flasharray.TestToken
	}
	lines := []string{"[pool." + pool + "]", `type = "flasharray"`, fmt.Sprintf("address = %q", r.Address),
		fmt.Sprintf("api_token = %q", token), fmt.Sprintf("ca_file = %q", r.CAFile())}
	return strings.Join(append(lines, more...), "\n") + "\n"
}

// Close takes the array's devices from the hosts and stops answering.
func (r *Running) Close() error {
	var errs []error
	if r.server != nil {
		errs = append(errs, r.server.Close())
		if err := <-r.served; !errors.Is(err, http.ErrServerClosed) {
			errs = append(errs, err)
		}
	}
	if r.Target != nil {
		errs = append(errs, r.Target.Close())
	}
	return errors.Join(errs...)
}
