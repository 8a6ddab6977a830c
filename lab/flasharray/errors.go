package flasharray

import (
	"fmt"
	"net/http"
)

// The texts that public drivers of the array look for.
const (
	notExist       = "%s does not exist."
	alreadyExists  = "%s already exists."
	destroyed      = "Volume has been destroyed."
	deleted        = "Volume has been deleted." // a destroyed volume is destroyed again
	noEradication  = "Eradication is disabled."
	truncation     = "Implicit truncation not permitted."
	hostConnected  = "Host cannot be deleted due to existing connections."
	inUse          = "The specified %s is already in use."
	limitReached   = "%s limit reached."
	invalidSession = "Invalid session."
)

// failure is an answer other than 200.
type failure struct {
	status           int
	context, message string
}

func (f *failure) Error() string { return f.context + ": " + f.message }

// refuse is the array's usual answer to what it does not like: 400.
func refuse(context, format string, args ...any) *failure {
	return &failure{http.StatusBadRequest, context, fmt.Sprintf(format, args...)}
}
