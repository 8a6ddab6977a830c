package state

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	machine1 = "4c4c4544-0042-3510-8054-b7c04f333532"
	machine2 = "03560274-043c-0577-6c06-250700080009"
)

func TestProductUUID(t *testing.T) {
	for text, want := range map[string]string{
		machine1 + "\n":                  machine1,
		strings.ToUpper(machine1) + "\n": machine1,
		"":                               "", "Not Settable\n": "", machine1 + machine1: "", strings.Repeat("x", 36): "",
	} {
		sys := t.TempDir()
		dir := filepath.Join(sys, "class/dmi/id")
		check(t, os.MkdirAll(dir, 0o755))
		check(t, os.WriteFile(filepath.Join(dir, "product_uuid"), []byte(text), 0o400))
		if got := ProductUUID(sys); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	if got := ProductUUID(t.TempDir()); got != "" {
		t.Errorf("none: %q", got)
	}
}

// The records of one machine are refused on another until somebody says that the
// first is off for good.
func TestRecordsOfAnotherMachine(t *testing.T) {
	path := statePath(t)
	on := func(opts ...Option) error {
		s, err := Open(t.Context(), path, boot1, opts...)
		if err != nil {
			return err
		}
		return s.Close()
	}
	check(t, on()) // no firmware has said yet whose it is
	check(t, on(OnMachine(machine1)))
	check(t, on(OnMachine(machine1)))
	check(t, on(OnMachine(""))) // it does not always say
	copied := "'volbridge recover --replaces " + machine1 + "'"
	wrong(t, path, on(OnMachine(machine2)), ErrOtherMachine, copied)
	wrong(t, path, on(OnMachine(machine2), Replacing(machine2)), ErrOtherMachine, copied)
	wrong(t, path, Inspect(t.Context(), path, machine2), ErrOtherMachine, copied)
	check(t, Inspect(t.Context(), path, machine1))
	check(t, Inspect(t.Context(), path, ""))
	check(t, on(OnMachine(machine2), Replacing(strings.ToUpper(machine1))))
	check(t, on(OnMachine(machine2)))
	check(t, on(OnMachine(machine2), Replacing(machine1))) // typed twice
	wrong(t, path, on(OnMachine(machine1)), ErrOtherMachine, machine2)
}
