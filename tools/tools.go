//go:build tools

// Package tools pins what the project is checked with, apart from what it is
// built from.
package tools

import (
	_ "honnef.co/go/tools/cmd/staticcheck"
)
