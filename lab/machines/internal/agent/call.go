package agent

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/volbridge/volbridge/lab/machines/internal/pidfd"
)

// Call runs a program in a machine and ends this process as the program ended
// (args: a process in the lab's network, the machine's QEMU, the machine's
// address, argv…). It must be called on the locked main thread, and returns
// only after an error. When the machine goes, so does the call.
func Call(args []string) error {
	if len(args) < 4 {
		return errors.New("usage: call PID QEMU ADDRESS PROGRAM [ARGUMENT…]")
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	qemu, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	// A machine that loses its power says no goodbye to its connections.
	gone, err := pidfd.Watch(qemu)
	if err != nil {
		return fmt.Errorf("the machine is not up: %w", err)
	}
	ended := make(chan result, 1)
	c, err := dial(args[0], args[2])
	if err != nil {
		return err
	}
	out := &frames{to: c}
	hello, err := json.Marshal(request{Argv: args[3:]})
	if err != nil {
		return err
	}
	if err := out.send(kindRequest, hello); err != nil {
		return err
	}
	go func() { ended <- relay(c) }()
	go input(out)
	for {
		select {
		case s := <-signals:
			if err := out.send(kindSignal, []byte{byte(s.(unix.Signal))}); err != nil {
				return err
			}
		case <-gone:
			return errors.New("the machine has gone")
		case r := <-ended:
			if r.err != nil {
				return fmt.Errorf("lost the machine: %w", r.err)
			}
			endAs(r.end)
		}
	}
}

// dial connects to the agent from within the network of process pid.
func dial(pid, address string) (net.Conn, error) {
	fd, err := unix.Open("/proc/"+pid+"/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("enter the lab's network: %w (is the lab up?)", err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("enter the lab's network: %w", err)
	}
	return net.Dial("tcp", net.JoinHostPort(address, strconv.Itoa(Port)))
}

type result struct {
	end ending
	err error
}

// relay passes the program's outputs on until it has ended.
func relay(c io.Reader) result {
	in := bufio.NewReader(c)
	for {
		k, data, err := receive(in)
		if err != nil {
			return result{err: err}
		}
		switch k {
		case kindOutput:
			_, err = os.Stdout.Write(data)
		case kindErrors:
			_, err = os.Stderr.Write(data)
		case kindEnding:
			var end ending
			return result{err: json.Unmarshal(data, &end), end: end}
		}
		if err != nil {
			return result{err: err}
		}
	}
}

// input sends standard input. The program may end before it does.
func input(out *frames) {
	if _, err := io.Copy(stream{out, kindInput}, os.Stdin); err == nil {
		_ = out.send(kindInput, nil)
	}
}

// As a shell has them.
const (
	notStarted = 127
	signaled   = 128
)

// endAs ends this process as the program ended.
func endAs(end ending) {
	if end.Error != "" {
		fmt.Fprintln(os.Stderr, end.Error)
		os.Exit(notStarted)
	}
	if end.Signal != 0 {
		os.Exit(signaled + int(end.Signal))
	}
	os.Exit(end.Code)
}
