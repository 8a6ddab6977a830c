//go:build tools

// Package tools pins what the project is checked and packed with, apart from
// what it is built from.
package tools

import (
	_ "github.com/goreleaser/nfpm/v2/cmd/nfpm"
	_ "honnef.co/go/tools/cmd/staticcheck"
)
