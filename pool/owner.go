package pool

// CopyOwner is the name of an owner that is no domain: of the work of copying an
// image into a volume. A domain may have that name too, so nothing is decided by
// it.
const CopyOwner = "volbridge import"

// Text says for people on whose behalf a host asks.
func (o Owner) Text() string {
	if o.Name == CopyOwner {
		return "a copy of an image"
	}
	return "domain " + o.Name
}
