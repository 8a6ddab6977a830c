package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/pool/drivers"
)

// openTerminal makes a terminal with a person's end.
func openTerminal(t *testing.T) (person, terminal *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no terminals here:", err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return person, terminal
}

// waitEcho returns once the terminal shows what is typed, or does not.
func waitEcho(t *testing.T, terminal *os.File, want bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if (state.Lflag&unix.ECHO != 0) == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the terminal shows what is typed: %v, want %v", !want, want)
		}
	}
}

// What is typed is not shown, and the terminal is as it was afterwards, after
// Ctrl-C too.
func TestSecretIsTypedUnseen(t *testing.T) {
	for _, interrupted := range []bool{false, true} {
		person, terminal := openTerminal(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		a := &app{in: terminal, inTerminal: true, out: new(strings.Builder), err: new(strings.Builder), drivers: drivers.All}
		type answer struct {
			text string
			err  error
		}
		asked := make(chan answer, 1)
		go func() {
			s, err := a.readSecret(ctx, "", "Password: ")
			asked <- answer{s.Reveal(), err}
		}()
		waitEcho(t, terminal, false)
		if interrupted {
			cancel()
			if got := <-asked; !errors.Is(got.err, context.Canceled) || exitCode(ctx, got.err) != exitInterrupted {
				t.Errorf("interrupted: %v", got.err)
			}
		}
		if _, err := person.WriteString("geheim\n"); err != nil { // it also ends the read that was interrupted
			t.Fatal(err)
		}
		if !interrupted {
			if got := <-asked; got.text != "geheim" || got.err != nil {
				t.Errorf("got %q, %v", got.text, got.err)
			}
		}
		waitEcho(t, terminal, true)
		if interrupted {
			continue
		}
		shown := make([]byte, 100)
		if _, err := terminal.WriteString("end"); err != nil {
			t.Fatal(err)
		}
		n, err := person.Read(shown)
		if err != nil || strings.Contains(string(shown[:n]), "geheim") {
			t.Errorf("the terminal showed %q, %v", shown[:n], err)
		}
	}
}
