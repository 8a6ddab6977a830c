package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The parts of SPDX 2.3 that say what a program was built from.
type (
	spdxDocument struct {
		Version       string             `json:"spdxVersion"`
		License       string             `json:"dataLicense"`
		ID            string             `json:"SPDXID"`
		Name          string             `json:"name"`
		Namespace     string             `json:"documentNamespace"`
		Creation      spdxCreation       `json:"creationInfo"`
		Packages      []spdxPackage      `json:"packages"`
		Relationships []spdxRelationship `json:"relationships"`
	}
	spdxCreation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdxPackage struct {
		Name     string         `json:"name"`
		ID       string         `json:"SPDXID"`
		Version  string         `json:"versionInfo"`
		Download string         `json:"downloadLocation"`
		Analyzed bool           `json:"filesAnalyzed"`
		Sums     []spdxChecksum `json:"checksums,omitempty"`
		Refs     []spdxRef      `json:"externalRefs,omitempty"`
	}
	spdxChecksum struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	}
	spdxRef struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	spdxRelationship struct {
		From string `json:"spdxElementId"`
		Type string `json:"relationshipType"`
		To   string `json:"relatedSpdxElement"`
	}
)

var programs = []string{"volbridge", "volbridge-hook"}

// writeBill lists each program and the modules that are in it, as the linker has
// noted them in the program itself.
func (o *options) writeBill(file, version string) error {
	d := spdxDocument{
		Version: "SPDX-2.3", License: "CC0-1.0", ID: "SPDXRef-DOCUMENT", Name: "volbridge-" + version,
		Creation: spdxCreation{Created: o.date.Format(time.RFC3339), Creators: []string{"Tool: volbridge-pack"}},
	}
	all := sha256.New()
	modules := map[string]spdxPackage{}
	for _, name := range programs {
		path := filepath.Join(o.bin, name)
		sum, err := fileSum(path)
		if err != nil {
			return err
		}
		fmt.Fprintln(all, sum)
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read what %s was built from: %w", path, err)
		}
		id := "SPDXRef-Program-" + name
		d.Packages = append(d.Packages, spdxPackage{
			Name: name, ID: id, Version: version, Download: "NOASSERTION",
			Sums: []spdxChecksum{{"SHA256", sum}},
		})
		d.relate("SPDXRef-DOCUMENT", "DESCRIBES", id)
		add := func(module, version string) {
			p := modulePackage(module, version)
			modules[p.ID] = p
			d.relate(id, "CONTAINS", p.ID)
		}
		add("stdlib", strings.TrimPrefix(info.GoVersion, "go"))
		for _, m := range info.Deps {
			if m.Replace != nil {
				m = m.Replace
			}
			add(m.Path, m.Version)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(modules)) {
		d.Packages = append(d.Packages, modules[id])
	}
	d.Namespace = "https://spdx.org/spdxdocs/volbridge-" + version + "-" + hex.EncodeToString(all.Sum(nil)[:16])
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	fmt.Println(file)
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

func (d *spdxDocument) relate(from, kind, to string) {
	d.Relationships = append(d.Relationships, spdxRelationship{from, kind, to})
}

func modulePackage(module, version string) spdxPackage {
	return spdxPackage{
		Name: module, ID: "SPDXRef-Module-" + spdxID(module+"-"+version), Version: version, Download: "NOASSERTION",
		Refs: []spdxRef{{"PACKAGE-MANAGER", "purl", "pkg:golang/" + module + "@" + strings.ReplaceAll(version, "+", "%2B")}},
	}
}

// spdxID keeps what an identifier may have.
func spdxID(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-':
			return r
		}
		return '-'
	}, s)
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// writeSums writes what sha256sum -c reads.
func writeSums(dir string, files []string) error {
	var b strings.Builder
	for _, name := range files {
		sum, err := fileSum(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s  %s\n", sum, name)
	}
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(b.String()), 0o644)
}
