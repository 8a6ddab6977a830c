package nvmesim

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/volbridge/volbridge/blockdev"
)

// Machine is the machine that this process runs on: in a host of a lab whose
// NVMe is played that one, elsewhere the real one. It panics if the host cannot
// be prepared; there is nobody to hear of an error.
func Machine() blockdev.Host {
	m := blockdev.System()
	if _, err := os.Stat(Marker); err != nil {
		return m
	}
	if err := prepare(); err != nil {
		panic(fmt.Sprintf("nvmesim: prepare this host: %v", err))
	}
	m.Sys, m.NVMe = SysRoot, played{}
	return m
}

// prepare makes what a host has from its boot. Several processes may do it at
// once.
func prepare() error {
	for _, dir := range []string{"class/nvme", "class/nvme-subsystem", "module/nvme_core/parameters"} {
		if err := os.MkdirAll(filepath.Join(SysRoot, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(truths, 0o755); err != nil {
		return err
	}
	for _, dir := range []string{"block", "dev", "devices"} {
		if err := os.Symlink(filepath.Join("/sys", dir), filepath.Join(SysRoot, dir)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	multipath := filepath.Join(SysRoot, "module/nvme_core/parameters/multipath")
	for path, text := range map[string]string{multipath: "Y\n", FabricsNode: ""} {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = f.WriteString(text)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// played is the kernel's NVMe as a target plays it.
type played struct{}

// Connect implements blockdev.NVMe.
func (played) Connect(ctx context.Context, options string) (string, error) {
	o := map[string]string{}
	for option := range strings.SplitSeq(options, ",") {
		name, value, _ := strings.Cut(option, "=")
		o[name] = value
	}
	host, err := os.Hostname()
	if err != nil {
		return "", err
	}
	w, err := greet(ctx, net.JoinHostPort(o["traddr"], o["trsvcid"]),
		Hello{Host: host, HostNQN: o["hostnqn"], HostID: o["hostid"], SubsystemNQN: o["nqn"]})
	switch {
	case err != nil:
		return "", err
	case w.Refusal != "":
		return "", errors.New(w.Refusal)
	case w.There:
		return "", fs.ErrExist
	}
	return w.Controller, nil
}

func greet(ctx context.Context, address string, h Hello) (w Welcome, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return w, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := json.NewEncoder(conn).Encode(h); err != nil {
		return w, err
	}
	return w, json.NewDecoder(bufio.NewReader(conn)).Decode(&w)
}

// Identify implements blockdev.NVMe.
func (played) Identify(_ context.Context, node string) (blockdev.Namespace, error) {
	if _, err := os.Stat(node); err != nil {
		return blockdev.Namespace{}, err
	}
	text, err := os.ReadFile(TruthFile(node))
	if err != nil {
		return blockdev.Namespace{}, err
	}
	var t Truth
	if err := json.Unmarshal(text, &t); err != nil {
		return blockdev.Namespace{}, fmt.Errorf("%s: %w", TruthFile(node), err)
	}
	return blockdev.Namespace{NGUID: t.NGUID, UUID: t.UUID, SizeBytes: t.SizeBytes}, nil
}
