// Package early ends the hook for a domain that volbridge has nothing to do
// with, before the rest of the program is initialised.
//
// libvirt calls the hook three times and more for every domain of the host.
// Nearly all of what such a call would cost is the initialisation of packages
// that it does not use, SQLite's above all: a call takes 1.45 times as long as
// that of a program which only reads stdin, and 1.25 times when it ends here.
// The language has packages initialised in the order of their import paths, as
// far as their imports allow: this one imports little and comes before
// modernc.org. Should that change, only time is lost: main decides in the same
// way.
package early

import (
	"bytes"
	"io"
	"os"
	"strings"

	"github.com/volbridge/volbridge/hooks/scan"
)

// maxBytes is domainxml.MaxBytes, which must not be imported here; what is
// longer is not judged here.
const maxBytes = 16 << 20

// stdin is what was read of it.
var stdin []byte

// Stdin returns the whole of the process's stdin, what was read of it here
// included.
func Stdin() io.Reader { return io.MultiReader(bytes.NewReader(stdin), os.Stdin) }

// An init function that ends the process is against the rules of this project.
// It is here because nothing else comes early enough, and it acts only on the
// arguments that libvirt passes.
func init() {
	if isCall(os.Args[1:]) && idle(os.Args[2], os.Args[3], os.Stdin) {
		os.Exit(0)
	}
}

// isCall says whether the arguments are those of libvirt. Of a test or a
// person they are not.
func isCall(args []string) bool {
	return len(args) == 4 && args[0] != "" && !strings.HasPrefix(args[0], "-") && (args[2] == "begin" || args[2] == "end")
}

// idle says whether there is nothing to do; what it reads for that is kept.
func idle(op, subOp string, from io.Reader) bool {
	need := scan.Needs(op, subOp)
	if need == scan.Nothing {
		return true
	}
	var err error
	stdin, err = read(from)
	return err == nil && len(stdin) <= maxBytes && scan.Idle(need, stdin, scan.HintDir)
}

// read reads up to one byte more than maxBytes.
func read(from io.Reader) ([]byte, error) {
	var all bytes.Buffer
	all.Grow(32 << 10) // most domains, in few calls
	_, err := all.ReadFrom(io.LimitReader(from, maxBytes+1))
	return all.Bytes(), err
}
