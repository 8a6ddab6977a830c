package drbdtools

import (
	"context"
	"fmt"

	"github.com/volbridge/volbridge/internal/lazyregexp"
)

// resourceName is what a resource can be called: part of a path and of a
// command line, and no longer than the kernel allows.
var resourceName = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,126}$`)

// ValidResource says whether a resource can have this name.
func ValidResource(name string) bool { return resourceName.MatchString(name) }

func checkResource(name string) error {
	if !ValidResource(name) {
		return fmt.Errorf("%.40q is no name of a DRBD resource", name)
	}
	return nil
}

// Primary lets this host write the resource. The kernel refuses it with
// TwoPrimaries while a peer may, unless two are allowed. It is idempotent.
func (t Tools) Primary(ctx context.Context, resource string) error {
	return t.adm(ctx, resource, "primary")
}

// Secondary ends that. The kernel refuses it with InUse while anything here
// has the device open. It is idempotent.
func (t Tools) Secondary(ctx context.Context, resource string) error {
	return t.adm(ctx, resource, "secondary")
}

// AllowTwoPrimaries lets two hosts be Primary, which needs protocol C. The
// peers take it over. It is idempotent.
func (t Tools) AllowTwoPrimaries(ctx context.Context, resource string) error {
	return t.adm(ctx, resource, "net-options", "--protocol=C", "--allow-two-primaries")
}

// ForbidTwoPrimaries ends that, here and on the peers, and returns to protocol
// ("" leaves it); the kernel refuses it with BothPrimary while two are. It is
// idempotent.
func (t Tools) ForbidTwoPrimaries(ctx context.Context, resource, protocol string) error {
	args := []string{"net-options"}
	if protocol != "" {
		args = append(args, "--protocol="+protocol)
	}
	return t.adm(ctx, resource, append(args, "--allow-two-primaries=no")...)
}

func (t Tools) adm(ctx context.Context, resource string, args ...string) error {
	if err := checkResource(resource); err != nil {
		return err
	}
	_, err := t.run(ctx, "drbdadm", append(args, resource)...)
	return err
}
