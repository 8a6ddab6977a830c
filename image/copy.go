package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// edgeBytes is how much of the beginning and of the end is written last: what
// makes a disk be recognised lies there. The labels of ZFS and a GPT reach
// furthest, 512 KiB and 17 KiB.
const edgeBytes = 1 << 20

// padBytes is the largest block size of a device: parts that are zeroed begin
// and end there.
const padBytes = 4096

// Options of a copy.
type Options struct {
	// Zeroed: the whole device reads as zeroes, by the contract of who made
	// it. Otherwise every byte is written.
	Zeroed bool
	// Compare reads everything back.
	Compare bool
	// Watch is told how much of the image is done; nil for nobody.
	Watch func(p Progress)
}

// Progress of a copy.
type Progress struct {
	Comparing bool
	DoneBytes int64
	AllBytes  int64
}

// Copy writes the image to the beginning of the device and zeroes to the rest.
// When it returns nil, all of it is on the storage. After an error the device
// holds nothing that would be taken for a disk, unless the error says so.
func Copy(ctx context.Context, tool Tool, s Source, t *Target, o Options) error {
	if s.SizeBytes > t.sizeBytes {
		return fmt.Errorf("image %s has %d bytes, but %s only %d", s.Path, s.SizeBytes, t.f.Name(), t.sizeBytes)
	}
	c := &copier{tool: tool, source: s, target: t, options: o, parts: split(s.SizeBytes, t.sizeBytes)}
	return c.copy(ctx)
}

// parts of an image, in the order in which they lie.
type parts struct {
	head, body, tail span
	padding          int64 // bytes of zeroes to the end of the device's block
}

// split divides an image. Where the image ends within a block, zeroes are
// added to its tail to fill the block.
func split(imageBytes, deviceBytes int64) parts {
	first := min(edgeBytes, imageBytes)
	last := max(first, (imageBytes-edgeBytes)/edgeBytes*edgeBytes)
	return parts{
		head: span{0, first}, body: span{first, last}, tail: span{last, imageBytes},
		padding: min(deviceBytes, roundUp(imageBytes)) - imageBytes,
	}
}

type copier struct {
	tool    Tool
	source  Source
	target  *Target
	options Options
	parts   parts
	edges   []byte // head and tail of the image, one behind the other
}

func (c *copier) copy(ctx context.Context) error {
	if !c.options.Zeroed {
		if err := c.clear(); err != nil {
			return err
		}
	}
	if err := both(ctx, c.convert, c.readEdges); err != nil {
		return err
	}
	if c.options.Compare {
		if err := c.compareBody(ctx); err != nil {
			return err
		}
	}
	if err := c.source.unchanged(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := c.finish(); err != nil {
		return errors.Join(err, c.spoil())
	}
	return nil
}

// clear makes the device look like nothing before its content is mixed.
func (c *copier) clear() error {
	front := span{0, min(c.target.sizeBytes, roundUp(c.parts.head.to))}
	back := span{c.parts.tail.from / padBytes * padBytes, c.target.sizeBytes}
	for _, r := range []span{front, back} {
		if err := c.target.zero(r); err != nil {
			return err
		}
	}
	return c.target.flush()
}

func roundUp(bytes int64) int64 { return (bytes + padBytes - 1) / padBytes * padBytes }

// spoil takes back the edges of a copy that failed at its very end.
func (c *copier) spoil() error {
	if err := c.clear(); err != nil {
		return fmt.Errorf("the device may look like a disk although the copy failed: %w", err)
	}
	return nil
}

// readEdges has qemu-img decode head and tail into memory.
func (c *copier) readEdges(ctx context.Context) error {
	size := c.parts.head.size() + c.parts.tail.size()
	fd, err := unix.MemfdCreate("volbridge-edges", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("memory for the edges of the image: %w", err)
	}
	memory := os.NewFile(uintptr(fd), "edges")
	defer memory.Close()
	if err := memory.Truncate(size); err != nil {
		return err
	}
	// It comes first in ExtraFiles, and so is 3 in the child.
	into := node{"driver": string(Raw), "file": node{"driver": "file", "filename": "/proc/self/fd/3"}}
	args := []string{"convert", "-n", "-f", string(Raw), "-O", string(Raw)}
	for _, r := range []span{c.parts.head, c.parts.tail} {
		if r.size() > 0 {
			args = append(args, window(c.source.disk(), r).name())
		}
	}
	cmd := exec.Command(c.tool.QEMUImg, append(args, into.name())...)
	cmd.ExtraFiles = []*os.File{memory}
	if err := run(ctx, "qemu-img convert", cmd, nil); err != nil {
		return fmt.Errorf("read image %s: %w", c.source.Path, err)
	}
	c.edges = make([]byte, size)
	_, err = memory.ReadAt(c.edges, 0)
	return err
}

func (c *copier) head() []byte { return c.edges[:c.parts.head.size()] }
func (c *copier) tail() []byte { return c.edges[c.parts.head.size():] }

// convert writes the body: out of order, several requests at once, past the
// page cache of the device.
func (c *copier) convert(ctx context.Context) error {
	if c.parts.body.size() == 0 {
		return nil
	}
	args := []string{"convert", "-p", "-n", "-f", string(Raw), "-O", string(Raw), "-t", "none", "-W", "-m", "16"}
	if c.options.Zeroed {
		args = append(args, "--target-is-zero")
	}
	args = append(args, window(c.source.disk(), c.parts.body).name(), window(c.target.node(), c.parts.body).name())
	progress := c.watch(false)
	if err := run(ctx, "qemu-img convert", exec.Command(c.tool.QEMUImg, args...), progress); err != nil {
		return fmt.Errorf("copy image %s to %s: %w", c.source.Path, c.target.f.Name(), err)
	}
	progress.end()
	return c.target.flush()
}

// compareBody has qemu-img read both.
func (c *copier) compareBody(ctx context.Context) error {
	if c.parts.body.size() == 0 {
		return nil
	}
	// Not -s: it also wants the same parts to be allocated. The sizes are equal.
	args := []string{"compare", "-p", "-f", string(Raw), "-F", string(Raw),
		window(c.source.disk(), c.parts.body).name(), window(c.target.node(), c.parts.body).name()}
	progress := c.watch(true)
	err := run(ctx, "qemu-img compare", exec.Command(c.tool.QEMUImg, args...), progress)
	var failed *ToolError
	if errors.As(err, &failed) && failed.Code == 1 {
		return c.differs()
	}
	if err != nil {
		return fmt.Errorf("compare image %s with %s: %w", c.source.Path, c.target.f.Name(), err)
	}
	progress.end()
	return nil
}

func (c *copier) differs() error {
	return fmt.Errorf("%s does not hold what was written from image %s: see the kernel's log, and do not use this storage before you know why",
		c.target.f.Name(), c.source.Path)
}

// finish makes it a disk: the end first, because the beginning is what is
// looked for.
func (c *copier) finish() error {
	tail := append(c.tail(), make([]byte, c.parts.padding)...)
	if len(c.tail()) > 0 {
		if err := c.target.writeOverZeroes(tail, c.parts.tail.from); err != nil {
			return err
		}
	}
	head := c.head()
	if len(c.tail()) == 0 {
		head = append(head, make([]byte, c.parts.padding)...)
	}
	if err := c.target.writeOverZeroes(head, 0); err != nil {
		return err
	}
	if !c.options.Compare {
		return nil
	}
	return c.compareEdges()
}

func (c *copier) compareEdges() error {
	if err := c.target.forget(); err != nil {
		return err
	}
	for _, e := range []struct {
		want []byte
		at   int64
	}{{c.head(), 0}, {c.tail(), c.parts.tail.from}} {
		got := make([]byte, len(e.want))
		if _, err := c.target.f.ReadAt(got, e.at); err != nil {
			return fmt.Errorf("read %s: %w", c.target.f.Name(), err)
		}
		if !bytes.Equal(got, e.want) {
			return c.differs()
		}
	}
	return nil
}

// watch returns what reads the tool's percentages.
func (c *copier) watch(comparing bool) *percentages {
	p := &percentages{}
	if c.options.Watch != nil {
		p.tell = func(percent float64) {
			done := int64(math.Round(percent / 100 * float64(c.source.SizeBytes)))
			c.options.Watch(Progress{Comparing: comparing, DoneBytes: min(done, c.source.SizeBytes), AllBytes: c.source.SizeBytes})
		}
	}
	return p
}
