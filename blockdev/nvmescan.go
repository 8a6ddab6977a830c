package blockdev

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// maxScans bounds how often one call has the controllers scanned.
const maxScans = 4

// nvmeScans asks controllers to look which namespaces they have. Some targets
// send no event when a namespace comes, goes or grows, so a controller that
// was live before the call is asked at once; one that goes live later looks by
// itself. The kernel scans in the background, so asking in vain costs little.
//
// Linux takes two scans to see that an NSID became another volume: the first
// drops the old namespace (nvme_validate_ns finds other identifiers), only a
// further one adds the new. So all are asked again whenever a namespace went.
type nvmeScans struct {
	looked bool
	done   map[string]bool // controllers that need not be asked
	names  []string        // namespaces at the last look
	rounds int
}

// seen notes what is there; call it for each view, before ask.
func (s *nvmeScans) seen(v nvmeView) {
	var names []string
	for _, n := range v.namespaces {
		names = append(names, n.name)
	}
	gone := slices.ContainsFunc(s.names, func(name string) bool { return !slices.Contains(names, name) })
	s.names = names
	if gone && s.rounds < maxScans {
		s.done = nil
	}
	known := s.done
	s.done = map[string]bool{}
	for _, c := range v.controllers {
		isNew := s.looked && known != nil && !hasKey(known, c.name)
		s.done[c.name] = known[c.name] || isNew || !c.live()
	}
	s.looked = true
}

func hasKey(m map[string]bool, key string) bool { _, ok := m[key]; return ok }

// ask has every live controller scanned that needs it.
func (s *nvmeScans) ask(v nvmeView) error {
	var errs []error
	asked := false
	for _, c := range v.controllers {
		if s.done[c.name] {
			continue
		}
		s.done[c.name], asked = true, true
		if err := writeAttribute(filepath.Join(c.dir, "rescan_controller"), "1"); err != nil && !vanished(err) {
			errs = append(errs, fmt.Errorf("ask %s for its namespaces: %w", c.name, err))
		}
	}
	if asked {
		s.rounds++
	}
	return errors.Join(errs...)
}

// writeAttribute never makes a file: sysfs has it or has not.
func writeAttribute(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
