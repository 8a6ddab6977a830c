package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"libvirt.org/go/libvirtxml"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/lab/internal/figures"
)

// benchRewrite rewrites each disk of all of libvirt's own domain files, and as
// a reference reads and writes the same files with libvirtxml, which keeps
// less.
func benchRewrite(context.Context) ([]figures.Row, error) {
	dir := os.Getenv("VOLBRIDGE_LIBVIRT_XML")
	if dir == "" {
		cache := os.Getenv("VOLBRIDGE_CACHE")
		if cache == "" {
			cache = ".cache"
		}
		dir = filepath.Join(cache, "libvirt-xml")
	}
	docs, err := domainFiles(dir)
	if err != nil {
		return nil, err
	}
	if len(docs) == 0 {
		return nil, fmt.Errorf("no domain files under %s: scripts/fetch-libvirt-xml.sh %s fetches them", dir, dir)
	}
	start := time.Now()
	rewrites := 0
	for _, d := range docs {
		rewrites += rewriteAll(d)
	}
	mine := time.Since(start)
	start = time.Now()
	for _, d := range docs {
		var x libvirtxml.Domain
		if x.Unmarshal(string(d)) == nil {
			_, _ = x.Marshal()
		}
	}
	theirs := time.Since(start)
	perSecond := func(d time.Duration) string { return fmt.Sprintf("%.0f documents/s", float64(len(docs))/d.Seconds()) }
	return []figures.Row{{What: fmt.Sprintf("rewriting all %d disks of libvirt's own %d files", rewrites, len(docs)),
		Value: perSecond(mine), Reference: "libvirtxml reading and writing them once, " + perSecond(theirs), Ratio: figures.Ratio(mine, theirs)}}, nil
}

// rewriteAll makes every disk that can be one a block disk, all at once, and
// returns how many.
func rewriteAll(xml []byte) int {
	doc, err := domainxml.Parse(xml)
	if err != nil {
		return 0
	}
	var blocks []domainxml.BlockDisk
	for _, d := range doc.Disks() {
		if d.Device == "disk" && !d.Empty() && len(d.Unkeepable) == 0 {
			blocks = append(blocks, domainxml.BlockDisk{Target: d.Target, Path: "/dev/volbridge/fast/" + d.Target, SliceBytes: 1 << 30})
		}
	}
	if _, err := doc.Rewrite(blocks, nil); err != nil {
		return 0
	}
	return len(blocks)
}

func domainFiles(dir string) ([][]byte, error) {
	var docs [][]byte
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".xml" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if _, err := domainxml.Parse(b); err == nil {
			docs = append(docs, b)
		}
		return nil
	})
	return docs, err
}
