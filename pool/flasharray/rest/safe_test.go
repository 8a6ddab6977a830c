package rest

import (
	"strings"
	"testing"
)

// Of a reply that repeats a secret nothing of it is shown, however long it is.
func TestBeginningHidesLongSecrets(t *testing.T) {
	for _, length := range []int{8, 36, 640, 700, 4096} {
		secret := strings.Repeat("Qx7", length)[:length]
		c := &Client{}
		c.hide(secret)
		if shown := c.beginning([]byte("you sent " + strings.Repeat(secret, 40))); strings.Contains(shown, "Qx7") || !strings.HasPrefix(shown, "you sent ") {
			t.Errorf("a secret of %d characters: %s", length, shown)
		}
	}
}
