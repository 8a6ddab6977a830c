package pool

import "context"

// Tidier is a Backend that may leave something switched on, on this host, that
// belongs to no grant of this host and that only it can switch off.
type Tidier interface {
	// Tidy switches it off and says for people what it was, an entry for each
	// volume; with dryRun it changes nothing. It is idempotent, and leaves alone
	// what a grant on any host may need.
	Tidy(ctx context.Context, dryRun bool) ([]string, error)
}
