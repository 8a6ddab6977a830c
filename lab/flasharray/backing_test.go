package flasharray_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/volbridge/volbridge/lab/flasharray"
)

func TestBackingFiles(t *testing.T) {
	r := newRig(t, flasharray.Options{Dir: t.TempDir()})
	r.ok("POST", "/volumes", "names=v1&with_default_protection=false", m{"provisioned": 64 << 20})
	v, _ := r.Volume("v1")
	if err := writeAt(v.File, []byte("hello"), 32<<20); err != nil {
		t.Fatal(err)
	}
	r.ok("POST", "/volumes", "names=v2", m{"source": m{"name": "v1"}})
	r.ok("POST", "/volumes", "names=v3", m{"provisioned": 64 << 20})
	w, _ := r.Volume("v3")
	if err := writeAt(w.File, []byte("rubbish"), 0); err != nil {
		t.Fatal(err)
	}
	r.ok("POST", "/volumes", "names=v3&overwrite=true", m{"source": m{"id": v.ID}})
	want, err := os.ReadFile(v.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"v2", "v3"} {
		c, _ := r.Volume(name)
		if got, err := os.ReadFile(c.File); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not v1's copy: %v", name, err)
		}
	}
	r.ok("PATCH", "/volumes", "names=v1", m{"provisioned": 65 << 20})
	if info, err := os.Stat(v.File); err != nil || info.Size() != 65<<20 {
		t.Error(info, err)
	}
	r.ok("PATCH", "/volumes", "names=v1", m{"destroyed": true})
	r.ok("DELETE", "/volumes", "names=v1", nil)
	if _, err := os.Stat(v.File); err == nil {
		t.Error("an eradicated volume's file is there")
	}
}

func writeAt(path string, data []byte, at int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(data, at); err != nil {
		return err
	}
	return f.Close()
}
