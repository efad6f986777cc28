// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"torchbearer/e2e/process"
)

// namespaces is a place with processes, mounts and a network of its own: a machine inside this one. Nothing in it is
// reachable from outside, and everything in it ends with its first process.
type namespaces struct {
	first *process.Process // unshare, whose only child is the first process inside
	pid   int              // of that child, seen from outside
	net   string           // path of the network namespace
}

// NodeAddress is the address of the cluster's only node.
const NodeAddress = "10.99.0.1"

// setUp prepares the namespaces; $1 is a folder for the files that it makes, $2 the node's address.
//   - What is written to /run and /var goes to memory and is gone with the namespaces: pods' logs, network leases,
//     hostPath volumes.
//   - Kubelet sets kernel parameters of the whole machine; it is shown files that hold what it wants.
//   - A default route, as addresses of Services are routed before they are translated.
const setUp = `set -eu
mount --make-rshared /
mkdir -p "$1/var"
mount -t tmpfs -o mode=755 tmpfs "$1/var"
mkdir "$1/var/upper" "$1/var/work"
mount -t overlay -o "lowerdir=/var,upperdir=$1/var/upper,workdir=$1/var/work" overlay /var
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/node /run/lock
mount -t tmpfs -o mode=755 tmpfs /run/node
for pair in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=/proc/sys/${pair%=*}
  [ -e "$file" ] || continue
  shown="$1/var/$(basename "$file")"
  echo "${pair#*=}" >"$shown"
  mount --bind "$shown" "$file"
done
echo 1 >/proc/sys/net/ipv4/ip_forward
ip link set lo up
ip link add node0 type veth peer name node0-end
ip address add "$2/24" dev node0
ip link set node0 up
ip link set node0-end up
ip route add default dev node0
exec "$3"
`

// newNamespaces enters nothing itself; dir holds its files.
func newNamespaces(ctx context.Context, dir string) (*namespaces, error) {
	pause, err := process.Neighbour("pause")
	if err != nil {
		return nil, err
	}
	first, err := process.Start(ctx, process.Options{Path: "unshare", Args: []string{
		"--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child=SIGKILL", "--mount-proc",
		"sh", "-c", setUp, "sh", dir, NodeAddress, pause,
	}})
	if err != nil {
		return nil, err
	}
	n := &namespaces{first: first}
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	if err := first.Until(ctx, n.findChild); err != nil {
		first.Close()
		return nil, fmt.Errorf("make namespaces: %w\n%s", err, first.Tail(10))
	}
	return n, nil
}

// findChild succeeds when the set-up is done, which the exec of pause shows.
func (n *namespaces) findChild() error {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", n.first.Pid()))
	if err != nil {
		return err
	}
	n.pid, err = strconv.Atoi(strings.TrimSpace(string(children)))
	if err != nil {
		return errors.New("the first process is not there yet")
	}
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", n.pid))
	if err != nil {
		return err
	}
	if filepath.Base(program) != "pause" {
		return errors.New("the set-up is not done yet")
	}
	n.net = fmt.Sprintf("/proc/%d/ns/net", n.pid)
	return nil
}

// enter is the command line that runs a program inside.
func (n *namespaces) enter(program string, args ...string) []string {
	return append([]string{
		"nsenter", "--target=" + strconv.Itoa(n.pid), "--mount", "--pid", "--net", "--ipc", "--uts", "--", program,
	}, args...)
}

func (n *namespaces) start(ctx context.Context, program string, args ...string) (*process.Process, error) {
	line := n.enter(program, args...)
	return process.Start(ctx, process.Options{Path: line[0], Args: line[1:]})
}

// run runs a program inside to its end and returns its output; the error holds what it wrote to standard error.
func (n *namespaces) run(ctx context.Context, program string, args ...string) (string, error) {
	line := n.enter(program, args...)
	return output(exec.CommandContext(ctx, line[0], line[1:]...))
}

func output(command *exec.Cmd) (string, error) {
	var problems strings.Builder
	command.Stderr = &problems
	text, err := command.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s%s", filepath.Base(command.Path), err, text, problems.String())
	}
	return string(text), err
}

// close kills everything inside; mounts, network and temporary files go with it.
func (n *namespaces) close() { n.first.Close() }

// inside calls f on a thread that is in the network namespace: sockets which f itself opens are of that network.
func (n *namespaces) inside(f func() error) error {
	runtime.LockOSThread()
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() { _ = here.Close() }() // It was only read.
	there, err := os.Open(n.net)
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer func() { _ = there.Close() }() // It was only read.
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter the network of the cluster: %w", err)
	}
	err = f()
	if back := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, and so is never used for anything else.
		return errors.Join(err, fmt.Errorf("leave the network of the cluster: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

// dial connects to an address inside; names cannot be resolved there.
func (n *namespaces) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var connection net.Conn
	err := n.inside(func() (err error) {
		connection, err = (&net.Dialer{FallbackDelay: -1}).DialContext(ctx, network, address)
		return err
	})
	return connection, err
}
