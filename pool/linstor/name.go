package linstor

import (
	"fmt"
	"strings"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/internal/lazyregexp"
	"github.com/volbridge/volbridge/pool"
	"github.com/volbridge/volbridge/pool/linstor/rest"
	"github.com/volbridge/volbridge/pool/settings"
)

// LINSTOR takes 2 to 48 letters, digits, '_', '-' and, in newer versions, '.'
// as the name of a resource; the first is a letter or '_', one at least is a
// letter. "all" and "proxy" are words of DRBD. It keeps upper and lower case,
// but does not tell names apart by it.
var (
	resourceForm = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_.-]{1,47}$`)
	volumeForm   = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
	letter       = lazyregexp.New(`[A-Za-z]`)
)

// checkName refuses a name that no resource of this pool can have.
func (b *backend) checkName(name string) error {
	full := b.resource(name)
	reserved := strings.EqualFold(full, "all") || strings.EqualFold(full, "proxy")
	if volumeForm.MatchString(name) && resourceForm.MatchString(full) && letter.MatchString(full) && !reserved {
		return nil
	}
	return fmt.Errorf("%w: %q; with the pool's prefix (%q) it must be 2 to 48 letters, digits, '_', '-' and '.', "+
		"with a letter or '_' first", pool.ErrInvalidName, settings.Clip(name), b.settings.Prefix)
}

// resource is the name of a volume's resource definition.
func (b *backend) resource(name string) string { return b.settings.Prefix + name }

// volumeName is the name of the volume of a resource definition; ok is false if
// it cannot be one of this pool.
func (b *backend) volumeName(resource string) (name string, ok bool) {
	name, ok = strings.CutPrefix(resource, b.settings.Prefix)
	return name, ok && b.checkName(name) == nil
}

// parsePath takes the name of a volume out of the path of its device.
func (b *backend) parsePath(path string) (name string, ok bool) {
	const before, after = "/dev/drbd/by-res/", "/0"
	resource, found := strings.CutPrefix(path, before)
	resource, ends := strings.CutSuffix(resource, after)
	if !found || !ends {
		return "", false
	}
	name, ok = b.volumeName(resource)
	return name, ok && blockdev.DRBDPath(resource, 0) == path
}

// identityOf is what the device says of itself: DRBD knows no more of a resource
// than its name.
func identityOf(d rest.Definition) blockdev.Identity { return blockdev.DRBDIdentity(d.Name, 0) }
