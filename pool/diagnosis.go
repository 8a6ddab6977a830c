package pool

import "context"

// Managed is a Backend that can say where its storage is managed.
type Managed interface {
	// Management lists the URLs of the storage's management, without a login.
	// It asks nobody.
	Management() []string
}

// Portaled is a Backend whose volumes are reached over TCP.
type Portaled interface {
	// PortalAddresses lists where, as host:port. It changes nothing, and may ask
	// the storage.
	PortalAddresses(ctx context.Context) ([]string, error)
}
