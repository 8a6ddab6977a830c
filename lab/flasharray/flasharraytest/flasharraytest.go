// Package flasharraytest serves a FlashArray stand-in inside a test.
package flasharraytest

import (
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/volbridge/volbridge/lab/flasharray"
)

// Served is a stand-in that is reached over TLS.
type Served struct {
	*flasharray.Array
	URL    string // https://127.0.0.1:port
	CAFile string // the certificate by which it is verified
}

// Start serves an array until the test ends.
func Start(t testing.TB, o flasharray.Options) Served {
	t.Helper()
	a := flasharray.New(o)
	s := httptest.NewTLSServer(a)
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return Served{Array: a, URL: s.URL, CAFile: ca}
}
