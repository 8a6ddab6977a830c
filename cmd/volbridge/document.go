package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"libvirt.org/go/libvirt"

	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/internal/virt"
)

// isFile says whether an argument means a file or standard input rather than a
// domain.
func isFile(arg string) bool {
	if arg == "-" {
		return true
	}
	info, err := os.Stat(arg)
	return err == nil && !info.IsDir()
}

// readDocument reads a file, or standard input for "-", and parses it.
func (a *app) readDocument(arg string) (*domainxml.Document, error) {
	name, in := "standard input", a.in
	if arg != "-" {
		f, err := os.Open(arg)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, withHint(withCode(exitNotFound, fmt.Errorf("read domain XML: %w", err)), "for a domain of this host: virsh dumpxml DOMAIN | volbridge domain rewrite -")
		}
		if err != nil {
			return nil, fmt.Errorf("read domain XML: %w", err)
		}
		defer f.Close()
		name, in = arg, f
	}
	// One byte more than is allowed, so that the parser sees that it is.
	text, err := io.ReadAll(io.LimitReader(in, domainxml.MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read domain XML from %s: %w", name, err)
	}
	doc, err := domainxml.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("read domain XML from %s: %w", name, err)
	}
	return doc, nil
}

// document is what an argument FILE|DOMAIN|- means.
func (a *app) document(arg string) (*domainxml.Document, error) {
	if isFile(arg) {
		return a.readDocument(arg)
	}
	conn, err := a.libvirt()
	if err != nil {
		return nil, withHint(err, "%q is no file, so it would have to be a domain", arg)
	}
	defer conn.Close()
	dom, err := virt.Domain(conn, arg)
	if err != nil {
		return nil, err
	}
	defer dom.Free()
	return definition(dom, arg, 0)
}

// definition is a domain's document: the live one of a running domain, unless
// flags say otherwise.
func definition(dom *libvirt.Domain, name string, flags libvirt.DomainXMLFlags) (*domainxml.Document, error) {
	text, err := dom.GetXMLDesc(flags)
	if err != nil {
		return nil, fmt.Errorf("read the XML of domain %s: %s", name, virt.Message(err))
	}
	doc, err := domainxml.Parse([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("read the XML of domain %s: %w", name, err)
	}
	return doc, nil
}
