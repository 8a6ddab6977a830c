package main

import (
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"libvirt.org/go/libvirt"

	"github.com/volbridge/volbridge/internal/virt"
)

// fixedValues are those of flags that take one of a few words.
var fixedValues = map[string][]string{
	"output":    {outputText, outputJSON},
	"log-level": {"error", "warn", "info", "debug", "trace"},
	"format":    {"raw", "qcow2", "vmdk", "vhdx", "vdi"},
}

// flagValues by what the flag's help calls its value.
func (a *app) flagValues(ctx context.Context, f cli.Flag) []string {
	if values, ok := fixedValues[f.Names()[0]]; ok {
		return slices.Clone(values)
	}
	d, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return nil
	}
	value, _ := flagText(d)
	return a.argumentValues(ctx, value, "")
}

// argumentValues by what a usage calls an argument. word is how it begins.
func (a *app) argumentValues(ctx context.Context, usage, word string) (list []string) {
	switch usage {
	case "POOL":
		return a.poolNames("")
	case "POOL/VOLUME":
		return a.volumeNames(ctx, word)
	}
	for kind := range strings.SplitSeq(usage, "|") {
		switch kind {
		case "DOMAIN":
			list = append(list, a.domainNames(ctx)...)
		case "FILE", "DIR", "IMAGE":
			list = append(list, filesWanted)
		}
	}
	return list
}

func (a *app) poolNames(suffix string) (list []string) {
	s, err := a.open()
	if err != nil {
		return nil
	}
	for _, p := range s.config.Pools {
		list = append(list, p.Name+suffix+"\tpool of type "+p.Type)
	}
	return list
}

// volumeNames offers the pools first, and asks a pool only when it was chosen.
func (a *app) volumeNames(ctx context.Context, word string) (list []string) {
	name, _, chosen := strings.Cut(word, "/")
	if !chosen {
		return a.poolNames("/")
	}
	s, err := a.open()
	if err != nil {
		return nil
	}
	return within(ctx, func() (list []string) {
		b, err := s.pools.Open(name)
		if err != nil {
			return nil
		}
		volumes, err := b.List(ctx)
		if err != nil {
			return nil
		}
		for _, v := range volumes {
			list = append(list, name+"/"+v.Name+"\t"+sizeText(v.SizeBytes))
		}
		return list
	})
}

// domainNames are those of this host's daemon. Another host's is not asked: its
// ssh could want a password here, at a prompt.
func (a *app) domainNames(ctx context.Context) []string {
	uri := virt.URI(a.global.Connect, a.getenv)
	if u, err := url.Parse(uri); err != nil || u.Host != "" {
		return nil
	}
	return within(ctx, func() (list []string) {
		conn, err := libvirt.NewConnectReadOnly(uri)
		if err != nil {
			return nil
		}
		defer conn.Close()
		domains, err := conn.ListAllDomains(0)
		if err != nil {
			return nil
		}
		for _, d := range domains {
			if name, err := d.GetName(); err == nil {
				list = append(list, name+"\tdomain")
			}
			d.Free()
		}
		return list
	})
}

// within gives up waiting at the deadline: neither libvirt nor every storage
// minds a context, and the process ends soon after.
func within(ctx context.Context, ask func() []string) []string {
	answer := make(chan []string, 1)
	go func() { answer <- ask() }()
	select {
	case list := <-answer:
		slices.Sort(list)
		return list
	case <-ctx.Done():
		return nil
	}
}
