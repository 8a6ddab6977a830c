package linstor

import (
	"fmt"
	"strings"

	"github.com/volbridge/volbridge/pool"
)

// unfinished is the key of the note that says that the volume is not whole yet.
func (v volume) unfinished() string {
	for k := range v.notes {
		if strings.HasPrefix(k, unfinishedNote) {
			return k
		}
	}
	return ""
}

// unfinishedError is a pool.ErrNotFound: a Create of the volume began, and did not
// end, or not yet.
type unfinishedError struct {
	volume pool.Volume
	text   string
}

func (e *unfinishedError) Error() string { return e.text }
func (e *unfinishedError) Unwrap() error { return pool.ErrNotFound }

// Unfinished is what there is of the volume, for who must not know this package.
// Its creation id is the mark: the Create may still run, and who saw what was not
// finished did not mean to delete the volume that has come of it since.
func (e *unfinishedError) Unfinished() pool.Volume { return e.volume }

func (b *backend) notFinished(v volume) *unfinishedError {
	shown := b.public(v)
	shown.CreationID = v.unfinished()
	if vds := v.def.VolumeDefinitions; len(vds) > 0 {
		shown.SizeBytes = int64(min(vds[0].SizeKib, maxKiB)) * 1024
	}
	return &unfinishedError{shown, fmt.Sprintf("resource definition %s is not finished: a command makes it just now, or did not end; "+
		"in that case delete it (`volbridge volume delete %s/%s`) (LINSTOR controller %s)", v.def.Name, b.name, v.name, b.linstor.Controller())}
}
