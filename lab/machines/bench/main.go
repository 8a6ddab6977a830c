// Command bench measures on emulated machines what it takes to attach a
// namespace of an array, to migrate a guest on one, and for how long DRBD
// allows two primaries meanwhile, against references of the same run. It needs
// root, what `make build` makes, and the image that scripts/machine-image.sh
// makes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/volbridge/volbridge/lab/internal/figures"
)

func main() {
	inside := flag.Bool("inside", false, "measure in the machine that it runs in (used by the bench itself)")
	only := flag.String("only", "", "attach, migrate or primaries")
	n := counts{}
	flag.IntVar(&n.runs, "runs", 20, "how often a namespace is attached in each way")
	flag.IntVar(&n.moves, "moves", 10, "how often a guest is migrated in each way")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	var err error
	if *inside {
		err = runInside(ctx, os.Stdin, os.Stdout)
	} else {
		err = run(ctx, *only, n)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// counts are how often things are done.
type counts struct{ runs, moves int }

func run(ctx context.Context, only string, n counts) (err error) {
	r, err := startRig(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	for _, b := range []struct {
		name string
		n    int
		run  func(context.Context, *rig, int) ([]figures.Row, error)
	}{
		{"attach", n.runs, benchAttach}, {"migrate", n.moves, benchMigrate}, {"primaries", n.moves, benchPrimaries},
	} {
		if only != "" && only != b.name {
			continue
		}
		rows, err := b.run(ctx, r, b.n)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		for _, row := range rows {
			fmt.Println(row)
		}
	}
	return nil
}
