package pool

import "context"

// Confirmer is a Backend that can say that what it granted still stands, with
// less than a grant takes.
type Confirmer interface {
	// Confirm is for who was granted the same in this boot: same volume, host,
	// owner and mode. It changes nothing. Without an error the grant has stood
	// ever since, nobody is in its way, and the Connection is what Grant would
	// return. Every error but ErrUnreachable is a reason to ask for the grant
	// again, which says what is wrong.
	Confirm(ctx context.Context, r GrantRequest) (Connection, error)
}
