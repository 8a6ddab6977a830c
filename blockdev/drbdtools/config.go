package drbdtools

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Resource is a resource of the configuration, /etc/drbd.conf and what it
// includes.
type Resource struct {
	Name  string
	Hosts []string // by the names that the kernels call themselves, sorted
	// Volumes are their numbers, the same on each host, sorted.
	Volumes []int
	// Protocol of replication: A, B or C. Empty: not the same on each connection.
	Protocol string
	// TwoPrimaries: the configuration allows two Primaries for good.
	TwoPrimaries bool
	// Problem says what of the resource is not understood, such as hosts without a
	// name. It must not be used then, nor taken for one that is not there; the
	// other resources are what they are.
	Problem string
}

// Resources reads the configuration, sorted by name.
func (t Tools) Resources(ctx context.Context) ([]Resource, error) {
	out, err := t.run(ctx, "drbdadm", "dump-xml")
	if err != nil {
		return nil, err
	}
	all, err := parseConfig(out)
	if err != nil {
		return nil, fmt.Errorf("drbdadm dump-xml: %w; is this version of drbd-utils supported?", err)
	}
	return all, nil
}

type configXML struct {
	XMLName   xml.Name      `xml:"config"`
	Common    sectionXML    `xml:"common"`
	Resources []resourceXML `xml:"resource"`
}

type resourceXML struct {
	Name     string `xml:"name,attr"`
	Protocol string `xml:"protocol,attr"` // as 8.3 wrote it, still accepted
	Hosts    []struct {
		Name    string `xml:"name,attr"`
		Volumes []struct {
			Number string `xml:"vnr,attr"`
		} `xml:"volume"`
	} `xml:"host"`
	Connections []sectionXML `xml:"connection"`
	sectionXML
}

// sectionXML is what has sections with options.
type sectionXML struct {
	Sections []struct {
		Name    string `xml:"name,attr"`
		Options []struct {
			Name  string  `xml:"name,attr"`
			Value *string `xml:"value,attr"` // nil: yes
		} `xml:"option"`
	} `xml:"section"`
}

// net returns an option of the section net, "" if it is not set.
func (s sectionXML) net(option string) string {
	for _, section := range s.Sections {
		if section.Name != "net" {
			continue
		}
		for _, o := range section.Options {
			switch {
			case o.Name != option:
			case o.Value == nil:
				return "yes"
			default:
				return *o.Value
			}
		}
	}
	return ""
}

func parseConfig(out []byte) ([]Resource, error) {
	decoder := xml.NewDecoder(bytes.NewReader(bytes.TrimSpace(out)))
	var c configXML
	if err := decoder.Decode(&c); err != nil {
		return nil, fmt.Errorf("its XML cannot be read: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows its XML")
	}
	var all []Resource
	for _, x := range c.Resources {
		if err := checkResource(x.Name); err != nil {
			return nil, err
		}
		r, err := x.resource(c.Common)
		if err != nil {
			r.Problem = err.Error()
		}
		if slices.ContainsFunc(all, func(other Resource) bool { return other.Name == r.Name }) {
			return nil, fmt.Errorf("resource %s is there twice", r.Name)
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Resource) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func (x resourceXML) resource(common sectionXML) (Resource, error) {
	r := Resource{Name: x.Name}
	for _, h := range x.Hosts {
		if h.Name == "" || slices.Contains(r.Hosts, h.Name) {
			return r, fmt.Errorf("host %.40q has no name of its own", h.Name)
		}
		r.Hosts = append(r.Hosts, h.Name)
		for _, v := range h.Volumes {
			number, err := strconv.Atoi(v.Number)
			if err != nil || number < 0 {
				return r, fmt.Errorf("volume %.40q", v.Number)
			}
			if !slices.Contains(r.Volumes, number) {
				r.Volumes = append(r.Volumes, number)
			}
		}
	}
	slices.Sort(r.Hosts)
	slices.Sort(r.Volumes)
	return r, r.setNet(x, common)
}

// setNet takes the options of net: a connection's own, else the resource's,
// else the common ones, else the default.
func (r *Resource) setNet(x resourceXML, common sectionXML) error {
	protocol := first(x.net("protocol"), x.Protocol, common.net("protocol"), "C")
	two := first(x.net("allow-two-primaries"), common.net("allow-two-primaries"), "no")
	connections := x.Connections
	if len(connections) == 0 {
		connections = []sectionXML{{}}
	}
	for i, c := range connections {
		own := first(c.net("protocol"), protocol)
		if !slices.Contains([]string{"A", "B", "C"}, own) {
			return fmt.Errorf("protocol %.40q", own)
		}
		if i > 0 && own != r.Protocol {
			own = ""
		}
		r.Protocol = own
		r.TwoPrimaries = r.TwoPrimaries || first(c.net("allow-two-primaries"), two) != "no"
	}
	return nil
}

func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
