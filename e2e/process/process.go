// SPDX-License-Identifier: Apache-2.0

// Package process runs programs as children of tests and of the demo: each in a process group of its own, so that
// nothing it starts outlives it, with its output kept. It knows nothing of what the programs do.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options says what to run.
type Options struct {
	Path string
	Args []string
	Env  []string // added to this process's environment
	Dir  string   // working directory; "" is the one of this process
}

// Process is a child. Its methods may be called from any goroutine.
type Process struct {
	command *exec.Cmd
	output  *output
	done    chan struct{} // closed when the child has been waited for
}

// Start runs the program; the caller has to Close the process, which the end of ctx does not.
func Start(ctx context.Context, options Options) (*Process, error) {
	p := &Process{
		command: exec.CommandContext(context.WithoutCancel(ctx), options.Path, options.Args...),
		output:  &output{},
		done:    make(chan struct{}),
	}
	p.command.Env = append(os.Environ(), options.Env...)
	p.command.Dir = options.Dir
	p.command.Stdout = p.output
	p.command.Stderr = p.output
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// Should a grandchild hold the output open, Wait must end nevertheless.
	p.command.WaitDelay = 2 * time.Second
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", options.Path, err)
	}
	go func() {
		_ = p.command.Wait() // ExitCode tells the outcome.
		close(p.done)
	}()
	return p, nil
}

// Close kills the child and its group if it still runs, and waits for its end.
func (p *Process) Close() {
	if !p.Ended() {
		_ = syscall.Kill(-p.Pid(), syscall.SIGKILL) // It may end just now.
	}
	<-p.done
}

// Pid is the id of the child and of its process group.
func (p *Process) Pid() int { return p.command.Process.Pid }

// Signal sends a signal to the child alone.
func (p *Process) Signal(sig os.Signal) error { return p.command.Process.Signal(sig) }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended says whether the child has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Wait waits for the child's end and returns its exit code (-1 when a signal ended it), or an error when it has not
// ended in time.
func (p *Process) Wait(timeout time.Duration) (int, error) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.command.ProcessState.ExitCode(), nil
	case <-timer.C:
		return 0, fmt.Errorf("%s has not ended within %s", p.command.Path, timeout)
	}
}

// Stop asks the child to end with SIGTERM and waits like Wait.
func (p *Process) Stop(timeout time.Duration) (int, error) {
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	return p.Wait(timeout)
}

// Output is what the child has written so far, standard output and standard error together.
func (p *Process) Output() string { return p.output.String() }

// Tail is the last n lines of Output.
func (p *Process) Tail(n int) string {
	lines := strings.Split(strings.TrimRight(p.Output(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Until polls until check returns nil, and returns the last error when the context ends or the child does.
func (p *Process) Until(ctx context.Context, check func() error) error {
	return poll(ctx, p.done, check)
}

// Until polls until check returns nil, and returns the last error when the context ends.
func Until(ctx context.Context, check func() error) error { return poll(ctx, nil, check) }

func poll(ctx context.Context, ended <-chan struct{}, check func() error) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	var last error
	for {
		err := check()
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err // What the end of the time did to the check tells nothing.
		}
		select {
		case <-ended:
			return fmt.Errorf("the program has ended: %w", last)
		case <-ctx.Done():
			return last
		case <-ticker.C:
		}
	}
}

// FreeAddress is a port of 127.0.0.1 that nobody listens on, for programs that cannot be told to take any. Until the end of
// ctx the system gives it to nobody who asks for any port; it is for who asks for this one.
func FreeAddress(ctx context.Context) (string, error) {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	// A socket that is bound and does not listen keeps the port; with this option another one may bind to it.
	err = syscall.SetsockoptInt(socket, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err == nil {
		err = syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	var name syscall.Sockaddr
	if err == nil {
		name, err = syscall.Getsockname(socket)
	}
	bound, ok := name.(*syscall.SockaddrInet4)
	if err != nil || !ok {
		return "", errors.Join(fmt.Errorf("find a free port: %w", err), syscall.Close(socket))
	}
	context.AfterFunc(ctx, func() { _ = syscall.Close(socket) }) // It was only held.
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(bound.Port)), nil
}

type output struct {
	mu   sync.Mutex // guards kept
	kept bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kept.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kept.String()
}
