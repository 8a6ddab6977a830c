package main

import (
	"bytes"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// stage makes the files that are not in the source tree, and for each kind of
// package nfpm.yaml with its variables filled in. It returns these.
func (o *options) stage(dir, version string) (map[string]string, error) {
	root, err := filepath.Abs(o.root)
	if err != nil {
		return nil, err
	}
	bin, err := filepath.Abs(o.bin)
	if err != nil {
		return nil, err
	}
	libc, err := newestLibc(filepath.Join(bin, "volbridge"))
	if err != nil {
		return nil, err
	}
	vars := map[string]string{
		"SRC": root, "BIN": bin, "VERSION": version, "LIBC": libc,
		"ARCH": runtime.GOARCH, "RPM_ARCH": rpmArch(runtime.GOARCH),
	}
	if err := o.stageDocs(dir, root, bin, version); err != nil {
		return nil, err
	}
	if vars["RPM_DOCS"], err = rpmDocs(dir, root); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(root, "packaging/description.txt"))
	if err != nil {
		return nil, err
	}
	from := filepath.Join(root, "packaging/nfpm.yaml")
	// A deb's description begins with what rpm has as the summary, and it has no
	// field for the licence.
	vars["LICENSE"], vars["DESCRIPTION"] = "", strconv.Quote("volumes of storage arrays for plain libvirt hosts\n"+string(text))
	if err := fill(from, filepath.Join(dir, "deb.yaml"), vars); err != nil {
		return nil, err
	}
	vars["LICENSE"], vars["DESCRIPTION"] = "Apache-2.0", strconv.Quote(string(text))
	return vars, fill(from, filepath.Join(dir, "rpm.yaml"), vars)
}

// rpmDocs are the lines of nfpm.yaml for documentation of which there are several
// files.
func rpmDocs(dir, root string) (string, error) {
	var lines []string
	for _, d := range [][2]string{
		{filepath.Join(dir, "made/*.1.gz"), "/usr/share/man/man1"},
		{filepath.Join(dir, "made/*.5.gz"), "/usr/share/man/man5"},
		{filepath.Join(dir, "made/*.8.gz"), "/usr/share/man/man8"},
		{filepath.Join(root, "docs/*.md"), "/usr/share/doc/volbridge/docs"},
		{filepath.Join(root, "docs/quickstart/*.md"), "/usr/share/doc/volbridge/docs/quickstart"},
		{filepath.Join(root, "packaging/examples/*"), "/usr/share/doc/volbridge/examples"},
	} {
		files, err := filepath.Glob(d[0])
		if err != nil || len(files) == 0 {
			return "", fmt.Errorf("nothing is called %s: %v", d[0], err)
		}
		for _, f := range files {
			lines = append(lines, fmt.Sprintf("  - {src: %q, dst: %s/%s, type: doc, packager: rpm, file_info: {mode: 0644}}", f, d[1], filepath.Base(f)))
		}
	}
	return strings.Join(lines, "\n"), nil
}

func rpmArch(goarch string) string {
	if arch, ok := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[goarch]; ok {
		return arch
	}
	return goarch
}

// fill replaces ${NAME}; a name that is not known is a mistake in the file.
func fill(from, to string, vars map[string]string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var unknown []string
	filled := os.Expand(string(text), func(name string) string {
		value, ok := vars[name]
		if !ok {
			unknown = append(unknown, name)
		}
		return value
	})
	if unknown != nil {
		return fmt.Errorf("%s: unknown variables %v: known are %v", from, unknown, slices.Sorted(maps.Keys(vars)))
	}
	return os.WriteFile(to, []byte(filled), 0o644)
}

func (o *options) stageDocs(dir, root, bin, version string) error {
	made := filepath.Join(dir, "made")
	if _, err := run(dir, filepath.Join(bin, "volbridge"), "generate-docs", "--date", o.date.Format(time.DateOnly), made); err != nil {
		return err
	}
	pages, err := filepath.Glob(filepath.Join(made, "*.[158]"))
	if err != nil {
		return err
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			return err
		}
		if err := writeGzip(page+".gz", text); err != nil {
			return err
		}
	}
	changes, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	if err := writeGzip(filepath.Join(made, "changelog.gz"), changes); err != nil {
		return err
	}
	entry := fmt.Sprintf("volbridge (%s-1) unstable; urgency=medium\n\n  * What changed is in changelog.gz beside this file.\n\n -- The volbridge authors <volbridge@volbridge.example>  %s\n",
		version, o.date.Format(time.RFC1123Z))
	if err := writeGzip(filepath.Join(made, "changelog.Debian.gz"), []byte(entry)); err != nil {
		return err
	}
	notices, err := notices(root, bin)
	if err != nil {
		return err
	}
	return writeGzip(filepath.Join(made, "third-party-licenses.gz"), notices)
}

// writeGzip writes no name and no time into the head, like gzip -9n.
func writeGzip(path string, text []byte) error {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// notices are the licences of all modules in the programs, which their authors
// ask to be passed on.
func notices(root, bin string) ([]byte, error) {
	modules := map[string]string{}
	for _, name := range programs {
		info, err := buildinfo.ReadFile(filepath.Join(bin, name))
		if err != nil {
			return nil, err
		}
		for _, m := range info.Deps {
			modules[m.Path] = m.Version
		}
	}
	out, err := run(root, "go", append([]string{"list", "-mod=readonly", "-m", "-json=Path,Dir"}, slices.Sorted(maps.Keys(modules))...)...)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("The programs of volbridge contain these modules, under these licences.\n")
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var m struct{ Path, Dir string }
		if err := d.Decode(&m); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		files, err := licenceFiles(m.Dir)
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("module %s has no licence file in %q: its notice cannot be passed on (%v)", m.Path, m.Dir, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(&b, "\n==== %s %s: %s\n\n%s", m.Path, modules[m.Path], filepath.Base(file), text)
		}
	}
	goroot, err := run(root, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(goroot), "LICENSE"))
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(&b, "\n==== Go's standard library: LICENSE\n\n%s", text)
	return b.Bytes(), nil
}

func licenceFiles(dir string) (files []string, err error) {
	if dir == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		for _, prefix := range []string{"LICENSE", "LICENCE", "UNLICENSE", "COPYING", "NOTICE"} {
			if strings.HasPrefix(name, prefix) && e.Type().IsRegular() && !strings.HasSuffix(name, ".GO") {
				files = append(files, filepath.Join(dir, e.Name()))
			}
		}
	}
	return files, err
}

// newestLibc is the least version of glibc that has every symbol that a program
// asks for.
func newestLibc(program string) (string, error) {
	f, err := elf.Open(program)
	if err != nil {
		return "", err
	}
	defer f.Close()
	symbols, err := f.ImportedSymbols()
	if err != nil {
		return "", fmt.Errorf("read which symbols %s needs: %w", program, err)
	}
	newest := []int{2, 2}
	for _, s := range symbols {
		text, ok := strings.CutPrefix(s.Version, "GLIBC_")
		if !ok {
			continue
		}
		var v []int
		for part := range strings.SplitSeq(text, ".") {
			n, err := strconv.Atoi(part)
			if err != nil {
				v = nil
				break
			}
			v = append(v, n)
		}
		if slices.Compare(v, newest) > 0 {
			newest = v
		}
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(newest), " ", "."), "[]"), nil
}
