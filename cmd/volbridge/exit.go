package main

import (
	"context"
	"errors"

	"github.com/volbridge/volbridge/blockdev"
	"github.com/volbridge/volbridge/bridge"
	"github.com/volbridge/volbridge/domainxml"
	"github.com/volbridge/volbridge/image"
	"github.com/volbridge/volbridge/image/deploy"
	"github.com/volbridge/volbridge/internal/config"
	"github.com/volbridge/volbridge/internal/state"
	"github.com/volbridge/volbridge/internal/virt"
	"github.com/volbridge/volbridge/migrate"
	"github.com/volbridge/volbridge/pool"
)

// The exit codes; this is the one table of them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitRefused     = 3
	exitNotFound    = 4
	exitRolledBack  = 5
	exitLeft        = 6
	exitWarned      = 7
	exitUnhealthy   = 8
	exitInterrupted = 130
)

const exitHelp = `Exit codes:
  0    done
  1    failed; the message says what is known
  2    the command line is wrong
  3    refused before anything was changed
  4    no such domain, volume, pool, migration, image, XML or configuration
       file; a secret or a certificate that is missing is 1: then nothing is
       known of the pool's volumes
  5    a migration or a copy failed, and everything was taken back
  6    something is left that 'volbridge recover' has to take back
  7    'volbridge doctor' has warnings, and found nothing worse
  8    'volbridge doctor' found something that keeps guests from working
  130  interrupted`

// codedError is an error whose exit code its maker knows.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// withCode gives an error an exit code; nil stays nil.
func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &codedError{code, err}
}

// sentinels classify errors that come from the packages below.
var sentinels = []struct {
	code int
	errs []error
}{
	{exitLeft, []error{bridge.ErrLeft}},
	{exitNotFound, []error{
		pool.ErrNotFound, bridge.ErrNoPool, virt.ErrNoDomain, migrate.ErrNoGuest, migrate.ErrNoMigration,
		state.ErrNoRecord, domainxml.ErrNoDisk, config.ErrNoConfig,
	}},
	{exitRefused, []error{
		pool.ErrExists, pool.ErrInvalidName, pool.ErrShrink, pool.ErrNoSpace, pool.ErrNotOurs, pool.ErrNoPool,
		state.ErrVolumeBusy, config.ErrRefused, blockdev.ErrInUse, image.ErrTargetInUse,
	}},
}

// exitCode says how the process ends. What is known about the outcome comes
// before the fact that somebody pressed Ctrl-C.
func exitCode(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	if code, ok := outcome(err); ok {
		return code
	}
	if ctx.Err() != nil {
		return exitInterrupted
	}
	var (
		coded   *codedError
		invalid *config.InvalidError
		held    *pool.HeldError
		refusal *migrate.Refusal
		unfit   *image.RefusedError
		full    *deploy.NotEmptyError
	)
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &invalid), errors.As(err, &held), errors.As(err, &refusal),
		errors.As(err, &unfit), errors.As(err, &full):
		return exitRefused
	}
	for _, s := range sentinels {
		for _, sentinel := range s.errs {
			if errors.Is(err, sentinel) {
				return s.code
			}
		}
	}
	return exitFailure
}

// outcome of a migration or of a copy that failed.
func outcome(err error) (code int, known bool) {
	var copied *deploy.FailedError
	if errors.As(err, &copied) {
		return copyOutcome(copied), true
	}
	var failed *migrate.FailedError
	if !errors.As(err, &failed) {
		return 0, false
	}
	if failed.Undone && failed.Left == nil {
		return exitRolledBack, true
	}
	return exitLeft, true
}

// copyOutcome: what was refused before anything was written is a refusal, not a
// failure that was taken back.
func copyOutcome(e *deploy.FailedError) int {
	cause := exitCode(context.Background(), e.Cause)
	switch {
	case e.Left != nil:
		return exitLeft
	case e.Overwritten:
		return exitFailure
	case cause == exitRefused, cause == exitNotFound, cause == exitLeft:
		return cause
	}
	return exitRolledBack
}
