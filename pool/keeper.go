package pool

// Keeper is a Backend that may keep a volume, with its data and its space, when
// it is deleted.
type Keeper interface {
	// KeepsDeleted says for people where a volume of this name is once it is
	// deleted, and until when; empty if deleting it removes it for good. It
	// asks nobody.
	KeepsDeleted(volume string) string
}
