package domainxml

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/volbridge/volbridge/internal/testenv"
)

const domainSchema = "/usr/share/libvirt/schemas/domain.rng"

// needSchema asks for libvirt's schemas and the tools that read them.
func needSchema(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(domainSchema); err != nil {
		testenv.Missing(t, domainSchema+" (package libvirt0)")
	}
	for tool, pkg := range map[string]string{"xmllint": "libxml2-utils", "virt-xml-validate": "libvirt-clients"} {
		if _, err := exec.LookPath(tool); err != nil {
			testenv.Missing(t, tool+" (package "+pkg+")")
		}
	}
}

// schemaFailures writes the documents down, checks them against libvirt's
// schema, many per process, and returns what was said of each invalid one.
func schemaFailures(t *testing.T, docs [][]byte) map[int]string {
	t.Helper()
	dir := t.TempDir()
	failed := map[int]string{}
	const batch = 500
	for from := 0; from < len(docs); from += batch {
		args := []string{"--noout", "--relaxng", domainSchema}
		for i, doc := range docs[from:min(from+batch, len(docs))] {
			name := filepath.Join(dir, fmt.Sprintf("%d.xml", from+i))
			if err := os.WriteFile(name, doc, 0o600); err != nil {
				t.Fatal(err)
			}
			args = append(args, name)
		}
		readVerdicts(t, exec.Command("xmllint", args...), failed, len(args)-3)
	}
	return failed
}

// readVerdicts collects xmllint's messages up to the verdict on each file. A
// file that is not well-formed has no verdict, which the count shows.
func readVerdicts(t *testing.T, cmd *exec.Cmd, failed map[int]string, want int) {
	t.Helper()
	out, _ := cmd.CombinedOutput() // fails if any file is invalid
	verdicts, said := 0, ""
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		valid := strings.HasSuffix(line, ".xml validates")
		if !valid && !strings.HasSuffix(line, ".xml fails to validate") {
			said += line + "\n"
			continue
		}
		verdicts++
		if !valid {
			var i int
			name := filepath.Base(strings.TrimSuffix(line, " fails to validate"))
			if _, err := fmt.Sscanf(name, "%d.xml", &i); err != nil {
				t.Fatalf("xmllint said %q", line)
			}
			failed[i] = said
		}
		said = ""
	}
	if verdicts != want {
		t.Fatalf("xmllint judged %d of %d files: %s", verdicts, want, said)
	}
}

// TestCorpusRewriteEachDisk is the proof that a rewritten domain is still one:
// wherever libvirt's schema accepts the original, it accepts the rewrite.
func TestCorpusRewriteEachDisk(t *testing.T) {
	needSchema(t)
	docs := corpus(t)
	var originals, made [][]byte
	var origin []int // of made: index in docs
	r := &rewrites{refused: map[string]int{}}
	for i, c := range docs {
		originals = append(originals, c.doc.Bytes())
		r.out = nil
		rewriteEach(t, c, r)
		for _, out := range r.out {
			made, origin = append(made, out), append(origin, i)
		}
	}
	start := time.Now()
	invalid := schemaFailures(t, originals)
	for i, said := range schemaFailures(t, made) {
		name := docs[origin[i]].name
		if _, already := invalid[origin[i]]; already {
			continue
		}
		t.Errorf("%s: the rewrite is invalid: %s\n%s", name, said, made[i])
	}
	t.Logf("%d documents (%d invalid from the start), %d rewrites; refused: %v; %.1f s in xmllint",
		len(docs), len(invalid), len(made), r.refused, time.Since(start).Seconds())
}

// goldenForbidden lists golden pairs that libvirt takes and its schema does
// not.
var goldenForbidden = map[string]string{
	"escapes": "the schema's file names have no line breaks and no quotes",
}

func TestGoldenSchema(t *testing.T) {
	needSchema(t)
	ins, err := filepath.Glob("testdata/*.in.xml")
	if err != nil {
		t.Fatal(err)
	}
	var before, after [][]byte
	for _, in := range ins {
		before = append(before, readFile(t, in))
		after = append(after, readFile(t, strings.TrimSuffix(in, ".in.xml")+".out.xml"))
	}
	invalid, checked := schemaFailures(t, before), 0
	made := schemaFailures(t, after)
	for i, in := range ins {
		name := strings.TrimSuffix(filepath.Base(in), ".in.xml")
		_, already := invalid[i]
		if _, known := goldenForbidden[name]; known || already {
			t.Logf("%s: not checked: %s%s", name, goldenForbidden[name], invalid[i])
			continue
		}
		checked++
		if said, bad := made[i]; bad {
			t.Errorf("%s: the rewrite is invalid: %s", name, said)
		}
	}
	if checked < 25 {
		t.Errorf("only %d pairs could be checked", checked)
	}
}

// TestVirtXMLValidate asks libvirt's own validator about a few rewrites, since
// the others are judged by its schema alone.
func TestVirtXMLValidate(t *testing.T) {
	needSchema(t)
	for _, name := range []string{"file-qcow2", "backing-chain", "network-rbd", "volume", "crlf", "one-line", "metadata-others"} {
		out, err := exec.Command("virt-xml-validate", "testdata/"+name+".out.xml", "domain").CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
	out, err := exec.Command("virt-xml-validate", "testdata/everything-stays.in.xml", "domain").CombinedOutput()
	if err == nil {
		t.Errorf("the validator takes everything: %s", out)
	}
}
