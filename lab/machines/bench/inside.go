package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// insider is the part of the bench that runs in the machine, so that all times
// are of one clock.
type insider struct {
	spec
	proxy *proxy
	brick *brick // nil: not started yet
	links *fsnotify.Watcher
}

// runInside obeys lines until its input ends.
func runInside(ctx context.Context, from io.Reader, to io.Writer) error {
	in := bufio.NewScanner(from)
	if !in.Scan() {
		return errors.Join(errors.New("nothing to do"), in.Err())
	}
	i := &insider{}
	if err := json.Unmarshal(in.Bytes(), &i.spec); err != nil {
		return err
	}
	if err := i.open(); err != nil {
		return err
	}
	defer i.links.Close()
	for out := json.NewEncoder(to); in.Scan(); {
		t, err := i.measure(ctx, way(in.Text()))
		if err != nil {
			t.Error = err.Error()
		}
		if err := out.Encode(t); err != nil {
			return err
		}
	}
	return in.Err()
}

func (i *insider) open() (err error) {
	if i.proxy, err = startProxy(i.spec); err != nil {
		return err
	}
	folder := filepath.Dir(i.link())
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	// udev removes the folder with its last link, and so would end the watch.
	if err := os.WriteFile(filepath.Join(folder, ".bench"), nil, 0o644); err != nil {
		return err
	}
	if i.links, err = fsnotify.NewWatcher(); err != nil {
		return err
	}
	return i.links.Add(folder)
}

func now() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err) // every Linux has it
	}
	return time.Duration(t.Nano())
}

const runTime = 2 * time.Minute

func (i *insider) measure(ctx context.Context, w way) (t times, err error) {
	ctx, cancel := context.WithTimeout(ctx, runTime)
	defer cancel()
	if w == byReleasing {
		return t, i.hook(ctx, "release", "end")
	}
	i.forgetEvents()
	linked := make(chan error, 1)
	go func() { linked <- i.waitLink(ctx, &t.Linked) }()
	err = i.attach(ctx, w, &t)
	if err != nil {
		cancel()
	}
	if missing := <-linked; err == nil {
		err = missing
	}
	if t.Done == 0 {
		t.Done = t.Linked
	}
	return t, err
}

func (i *insider) attach(ctx context.Context, w way, t *times) (err error) {
	if w == byVolbridge {
		err = i.hook(ctx, "prepare", "begin")
		t.Done, t.Acknowledged = now(), i.proxy.acknowledged()
		return err
	}
	if w == byBrick && i.brick == nil {
		if i.brick, err = startBrick(i.spec); err != nil {
			return err
		}
	}
	if t.Acknowledged, err = i.proxy.connect(ctx); err != nil {
		return err
	}
	switch w {
	case byConnect:
		return i.nvmeConnect(ctx)
	case byBrick:
		t.Done, err = i.brick.attach()
	}
	return err
}

// hook calls it as libvirt does.
func (i *insider) hook(ctx context.Context, operation, sub string) error {
	xml, err := os.Open(i.XMLFile)
	if err != nil {
		return err
	}
	defer xml.Close()
	cmd := exec.CommandContext(ctx, i.HookFile, i.Domain, operation, sub, "-")
	cmd.Stdin = xml
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("hook: %w: %s", err, out)
	}
	return nil
}

func (i *insider) nvmeConnect(ctx context.Context) error {
	errs := make([]error, len(i.Portals))
	var wg sync.WaitGroup
	for n, p := range i.Portals {
		wg.Go(func() {
			out, err := exec.CommandContext(ctx, "nvme", "connect", "-t", "tcp", "-a", p, "-s", "4420", "-n", i.NQN).CombinedOutput()
			if err != nil {
				errs[n] = fmt.Errorf("nvme connect: %w: %s", err, out)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// forgetEvents drops what came since the last run.
func (i *insider) forgetEvents() {
	for {
		select {
		case <-i.links.Events:
		default:
			return
		}
	}
}

// waitLink waits for an event of the link: udev makes it in one step.
func (i *insider) waitLink(ctx context.Context, at *time.Duration) error {
	for {
		select {
		case e := <-i.links.Events:
			if e.Name == i.link() && e.Has(fsnotify.Create) {
				*at = now()
				return nil
			}
		case err := <-i.links.Errors:
			return err
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", i.link(), ctx.Err())
		}
	}
}

// brick is a Python process that has loaded os-brick.
type brick struct {
	in  io.Writer
	out *bufio.Reader
}

func startBrick(s spec) (*brick, error) {
	cmd := exec.Command("python3", append([]string{"-c", osBrickScript, s.NQN, s.HostNQN, s.NGUID}, s.Portals...)...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b := &brick{in, bufio.NewReader(out)}
	if line, err := b.out.ReadString('\n'); err != nil || line != "ready\n" {
		return nil, fmt.Errorf("start os-brick: %w: %q", err, line)
	}
	return b, nil
}

func (b *brick) attach() (time.Duration, error) {
	if _, err := fmt.Fprintln(b.in, "attach"); err != nil {
		return 0, err
	}
	line, err := b.out.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("os-brick has ended: %w", err)
	}
	at, device, _ := strings.Cut(strings.TrimSpace(line), " ")
	ns, err := time.ParseDuration(at + "ns")
	if err != nil {
		return 0, err
	}
	_, err = os.Stat(device)
	return ns, err
}
