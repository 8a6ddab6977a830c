// Command pack makes volbridge's packages from binaries that are built: a deb
// and an rpm with nfpm, a list of what is in them (SBOM) and checksums.
//
//	SOURCE_DATE_EPOCH=… pack -bin bin -nfpm .cache/nfpm -out dist
//
// The same binaries and the same date make the same bytes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

type options struct {
	root string // of the source tree
	bin  string // with volbridge and volbridge-hook
	nfpm string // the program
	out  string
	// described is what git describe says, or hash and -dirty where there is no tag.
	described string
	date      time.Time
}

func main() {
	o := options{}
	flag.StringVar(&o.root, "root", ".", "the source tree")
	flag.StringVar(&o.bin, "bin", "bin", "folder of the built programs")
	flag.StringVar(&o.nfpm, "nfpm", "nfpm", "the program nfpm")
	flag.StringVar(&o.out, "out", "dist", "folder that the packages go to")
	flag.StringVar(&o.described, "version", "", "version as git describe says it")
	flag.Parse()
	err := o.readDate(os.Getenv("SOURCE_DATE_EPOCH"))
	if err == nil {
		err = o.pack()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func (o *options) readDate(epoch string) error {
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil || seconds <= 0 {
		return fmt.Errorf("SOURCE_DATE_EPOCH is %q: set it to the date of the commit, git log -1 --format=%%ct", epoch)
	}
	o.date = time.Unix(seconds, 0).UTC()
	return nil
}

// pack makes everything below a stage of its own, and replaces what was in out.
func (o *options) pack() error {
	stage, err := os.MkdirTemp("", "volbridge-pack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage)
	v, err := packageVersion(o.described, o.date)
	if err != nil {
		return err
	}
	files, err := o.stage(stage, v)
	if err != nil {
		return err
	}
	var made []string
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	for _, p := range []struct{ packager, file string }{
		{"deb", fmt.Sprintf("volbridge_%s-1_%s.deb", v, files["ARCH"])},
		{"rpm", fmt.Sprintf("volbridge-%s-1.%s.rpm", v, files["RPM_ARCH"])},
	} {
		if err := o.runNFPM(stage, p.packager, p.file); err != nil {
			return err
		}
		made = append(made, p.file)
	}
	bill := fmt.Sprintf("volbridge-%s.spdx.json", v)
	if err := o.writeBill(filepath.Join(o.out, bill), v); err != nil {
		return err
	}
	return writeSums(o.out, append(made, bill))
}

// runNFPM packs from the stage. Nothing of this machine may get into a package:
// its name neither, which rpm would note.
func (o *options) runNFPM(stage, packager, file string) error {
	target, err := filepath.Abs(filepath.Join(o.out, file))
	if err != nil {
		return err
	}
	program, err := filepath.Abs(o.nfpm)
	if err != nil {
		return err
	}
	cmd := exec.Command(program, "package", "--config", packager+".yaml", "--packager", packager, "--target", target)
	cmd.Dir = stage
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+strconv.FormatInt(o.date.Unix(), 10), "TZ=UTC")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nfpm package %s: %w: %s", packager, err, strings.TrimSpace(string(out)))
	}
	fmt.Println(filepath.Join(o.out, file))
	return nil
}

// run returns what a program prints.
func run(dir, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return "", fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(failed.Stderr)))
	}
	return string(out), err
}
