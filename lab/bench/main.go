// Command bench measures what volbridge costs, each figure as a ratio against
// a reference of the same run on the same machine. It needs root.
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
	inside := flag.String("inside", "", "measure this on the host that it runs on (used by the bench itself)")
	only := flag.String("only", "", "hook, prepare, migrate, rewrite, deploy or thin")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	if err := run(ctx, *inside, *only); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, inside, only string) error {
	if inside != "" {
		return measureInside(ctx, inside)
	}
	if os.Geteuid() != 0 {
		return errors.New("run it as root: it makes namespaces and loop devices")
	}
	for _, b := range []struct {
		name string
		run  func(context.Context) ([]figures.Row, error)
	}{
		{"hook", benchHook}, {"prepare", benchPrepare}, {"migrate", benchMigrate}, {"rewrite", benchRewrite},
		{"deploy", benchDeploy}, {"thin", benchThin},
	} {
		if only != "" && only != b.name {
			continue
		}
		rows, err := b.run(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		for _, r := range rows {
			fmt.Println(r)
		}
	}
	return nil
}
