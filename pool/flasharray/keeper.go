package flasharray

import "fmt"

// KeepsDeleted implements pool.Keeper: an array destroys a volume first, and
// eradicates it when the time that it is set to is over.
func (b *backend) KeepsDeleted(volume string) string {
	if b.settings.Eradicate {
		return ""
	}
	return fmt.Sprintf("array %s keeps it as destroyed volume %s…, with its data and space, until it eradicates it by itself",
		b.array.Array(), b.onArray(leavingPrefix(volume)))
}
