package flasharray

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/volbridge/volbridge/internal/lazyregexp"
	"github.com/volbridge/volbridge/pool"
)

// Purity takes 1 to 63 letters, digits, '-' and, in the names of volumes, '_';
// the first and the last is a letter or a digit, and not all are digits. It
// keeps upper and lower case, but does not tell names apart by it.
var (
	volumeForm = lazyregexp.New(`^[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?$`)
	allDigits  = lazyregexp.New(`^[0-9]+$`)
)

func checkName(name string) error {
	if volumeForm.MatchString(name) && !allDigits.MatchString(name) {
		return nil
	}
	return fmt.Errorf("%w: %q; a FlashArray takes 1 to 63 letters, digits, '-' and '_', with a letter or digit at both ends and not digits alone",
		pool.ErrInvalidName, clip(name))
}

// podMark stands between the name of a pod and that of a volume in it,
// groupMark between the name of a volume group and that of a volume in it.
const (
	podMark   = "::"
	groupMark = "/"
)

// onArray is the array's name of a volume of this pool.
func (b *backend) onArray(name string) string { return b.prefix() + name }

func (b *backend) prefix() string {
	if b.place.pod == "" {
		return ""
	}
	return b.place.pod + podMark
}

// inPool is the name of one of the array's volumes in this pool; ok is false
// for one that is in another pod, or in a volume group.
func (b *backend) inPool(arrayName string) (name string, ok bool) {
	pod, name, inPod := strings.Cut(arrayName, podMark)
	if !inPod {
		pod, name = "", arrayName
	}
	// The array does not tell names apart by case.
	return name, strings.EqualFold(pod, b.place.pod) && !strings.Contains(name, groupMark) && name != ""
}

// Volumes have other names while they come and while they go. Both are names
// like any other, so that what a crash leaves is seen in lists, and can be
// deleted by it.
const (
	comingMark  = "vb-tmp-"
	leavingMark = "vb-del-"
)

// comingName is that of a volume until it is whole: who repeats a Create finds
// it, and nobody else has that name.
func comingName(name, creationID string) string {
	return comingMark + digest("coming", name, creationID)[:32]
}

// leavingName frees the volume's name: the array keeps the name of a destroyed
// volume for as long as the volume itself. The serial makes it unique, the
// rest lets a repeated Delete find it.
func leavingName(name string, s Serial) string {
	return leavingPrefix(name) + strings.ToLower(string(s))
}

func leavingPrefix(name string) string { return leavingMark + digest("leaving", name)[:16] + "-" }

// digest is a hash of texts of which none can be taken for another's part.
func digest(texts ...string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", texts))
	return hex.EncodeToString(sum[:])
}
