package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/units"
)

func domainRewriteCommand(a *app) *cli.Command {
	list := &diskList{}
	return &cli.Command{
		Name: "rewrite", Usage: "print domain XML with disks made raw block disks, as the hook would", ArgsUsage: "FILE|-",
		Description: `Each --disk TARGET=PATH makes one disk a raw block disk with that device. A --size
after it gives the disk that --disk named a storage slice: the size that the
guest sees where the device is larger. All else stays as it is, byte for byte;
without --disk the output is the input. Nothing is changed but what is printed.

Examples:
  virsh dumpxml web | volbridge domain rewrite - --disk vda=/dev/sdx
  volbridge domain rewrite web.xml --disk vda=/dev/sdx --size 10GiB`,
		Flags: []cli.Flag{
			&cli.GenericFlag{Name: "disk", Usage: "`TARGET=PATH`; may be repeated", Value: list},
			&cli.GenericFlag{Name: "size", Usage: "`SIZE` of the slice of the --disk before it, such as 10GiB or a number of bytes", Value: (*diskSize)(list)},
		},
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "FILE or -")
			if err != nil {
				return err
			}
			return a.domainRewrite(args[0], list.disks)
		},
	}
}

// diskList is filled by --disk and --size in the order in which they stand.
type diskList struct{ disks []domainxml.BlockDisk }

// Set takes one --disk.
func (l *diskList) Set(value string) error {
	target, path, ok := strings.Cut(value, "=")
	if !ok || target == "" || !strings.HasPrefix(path, "/") {
		return fmt.Errorf("%q: write TARGET=PATH with the path from the root, for example vda=/dev/volbridge/fast/web", value)
	}
	if slices.ContainsFunc(l.disks, func(d domainxml.BlockDisk) bool { return d.Target == target }) {
		return fmt.Errorf("%s is there twice", target)
	}
	l.disks = append(l.disks, domainxml.BlockDisk{Target: target, Path: path})
	return nil
}

func (l *diskList) String() string { return "" }

// diskSize is --size of the same list.
type diskSize diskList

// Set takes one --size.
func (l *diskSize) Set(value string) error {
	if len(l.disks) == 0 {
		return fmt.Errorf("%q: it belongs after the --disk that it is for", value)
	}
	last := &l.disks[len(l.disks)-1]
	if last.SliceBytes != 0 {
		return fmt.Errorf("disk %s has a size already", last.Target)
	}
	text := value
	if strings.Trim(text, "0123456789") == "" {
		text += "B" // a plain number can only be bytes here, as libvirt prints them
	}
	size, err := units.ParseSize(text)
	if err != nil {
		return err
	}
	if size == 0 {
		return fmt.Errorf("%q: a disk has at least one byte", value)
	}
	last.SliceBytes = size
	return nil
}

func (l *diskSize) String() string { return "" }

func (a *app) domainRewrite(arg string, disks []domainxml.BlockDisk) error {
	doc, err := a.readDocument(arg)
	if err != nil {
		return err
	}
	out := doc.Bytes()
	if len(disks) > 0 {
		if out, err = doc.Rewrite(disks, nil); err != nil {
			return fmt.Errorf("rewrite domain %s: %w", doc.Name(), err)
		}
	}
	if _, err := a.out.Write(out); err != nil {
		return fmt.Errorf("print the XML: %w", err)
	}
	return nil
}
