package nvmet

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// BindLoop binds a file to a loop device, whose blocks have 512 bytes as the
// array's have, and returns the device's node.
func BindLoop(ctx context.Context, file string) (string, error) {
	return losetup(ctx, "--find", "--show", "--direct-io=on", "--sector-size=512", file)
}

// ResizedLoop lets a loop device take over its file's size.
func ResizedLoop(ctx context.Context, node string) error {
	_, err := losetup(ctx, "--set-capacity", node)
	return err
}

// UnbindLoop undoes BindLoop.
func UnbindLoop(ctx context.Context, node string) error {
	_, err := losetup(ctx, "--detach", node)
	return err
}

func losetup(ctx context.Context, args ...string) (string, error) {
	var said strings.Builder
	cmd := exec.CommandContext(ctx, "losetup", args...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("losetup %s: %w: %s", strings.Join(args, " "), err, &said)
	}
	return strings.TrimSpace(string(out)), nil
}
