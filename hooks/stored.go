package hooks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/volbridge/volbridge/domainxml"
)

// DefinitionDir is where libvirt keeps the definitions of persistent domains, a
// file NAME.xml each.
const DefinitionDir = "/etc/libvirt/qemu"

// stored says whether the stored definition of a domain has these words in it. The
// file is read and libvirt not asked, which cannot answer while it waits for the
// hook.
func (h *Hook) stored(domain, words string) (bool, error) {
	if strings.ContainsRune(domain, filepath.Separator) {
		return false, fmt.Errorf("%q is no name of a file", domain)
	}
	f, err := os.Open(filepath.Join(h.StoredDir, domain+".xml"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // a transient domain
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, domainxml.MaxBytes+1))
	if err != nil {
		return false, err
	}
	if len(text) > domainxml.MaxBytes {
		return false, fmt.Errorf("%s has more than %d bytes", f.Name(), domainxml.MaxBytes)
	}
	return bytes.Contains(text, []byte(words)), nil
}
