// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"torchbearer/e2e/process"
)

const imageName = "torchbearer:e2e"

// An engine builds and runs images.
type engine struct {
	host    string // of docker -H; "" is the engine that runs here anyway
	builder string // image with Go; "" is the Dockerfile's
}

// TestImage builds the Dockerfile and runs the image as a cluster would: not as root, on a root filesystem that
// cannot be written. It takes minutes, so it runs only when TORCHBEARER_E2E_IMAGE is set (make test-image).
func TestImage(t *testing.T) {
	if os.Getenv("TORCHBEARER_E2E_IMAGE") == "" {
		t.Skip("TORCHBEARER_E2E_IMAGE is not set: make test-image builds and runs the image")
	}
	e := startEngine(t)
	arguments := []string{"build", "--network=host", "--tag", imageName}
	if e.builder != "" {
		arguments = append(arguments, "--build-arg=BUILDER="+e.builder)
	}
	for _, name := range []string{"GOPROXY", "GOFLAGS"} {
		arguments = append(arguments, "--build-arg="+name+"="+goEnv(t, name))
	}
	e.docker(t, append(arguments, "..")...)

	if got := e.docker(t, "image", "inspect", "--format", "{{.Config.User}} {{.Config.Entrypoint}} {{.Config.ExposedPorts}}", imageName); got != "65532:65532 [/torchbearer] map[9090/tcp:{}]" {
		t.Errorf("user, entry point and ports are %q", got)
	}
	if got := e.docker(t, "run", "--rm", imageName, "--version"); !strings.Contains(got, "torchbearer, version 0.") {
		t.Errorf("--version in the image says %q", got)
	}
	t.Run("run", func(t *testing.T) { runImage(t, e) })
}

// runImage scrapes the container itself and looks that it arrives; the receiver runs outside.
func runImage(t *testing.T, e *engine) {
	t.Helper()
	dest := startReceiver(t)
	dir, address := t.TempDir(), freeAddress(t)
	config := filepath.Join(dir, "torchbearer.yaml")
	writeFile(t, config, global(time.Second)+remoteWrite(dest.URL(), soon)+jobs(job("self", []string{address})))
	for path, mode := range map[string]os.FileMode{dir: 0o755, config: 0o644} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	id := e.docker(t, "run", "--detach", "--network=host", "--read-only", "--cap-drop=ALL",
		"--volume="+dir+":/etc/torchbearer:ro", imageName, "--web.listen-address="+address)
	t.Cleanup(func() { e.docker(t, "rm", "--force", "--volumes", id) })

	until(t, 20*time.Second, "the container works", func(ctx context.Context) error {
		if err := process.Answers(ctx, "http://"+address+"/-/healthy"); err != nil {
			return err
		}
		return atLeast("series", len(dest.Match("__name__", "go_info", "job", "self")), 1)
	})
	wantMandatory(t, dest)
	e.docker(t, "stop", "--time=20", id)
	if code := e.docker(t, "inspect", "--format", "{{.State.ExitCode}}", id); code != "0" {
		t.Errorf("exit code is %s after docker stop, want 0:\n%s", code, e.docker(t, "logs", id))
	}
}

// docker runs the client and returns its standard output.
func (e *engine) docker(t *testing.T, args ...string) string {
	t.Helper()
	if e.host != "" {
		args = append([]string{"--host", e.host}, args...)
	}
	var output, problems bytes.Buffer
	command := exec.Command("docker", args...)
	// The builder of old: it is there in every engine, and needs no plugin.
	command.Env = append(os.Environ(), "DOCKER_BUILDKIT=0")
	command.Stdout, command.Stderr = &output, &problems
	if err := command.Run(); err != nil {
		t.Fatalf("docker %s: %v\n%s%s", strings.Join(args, " "), err, output.String(), problems.String())
	}
	return strings.TrimSpace(output.String())
}

// startEngine takes the engine of this machine, else starts one, else skips the test.
func startEngine(t *testing.T) *engine {
	t.Helper()
	if _, err := exec.LookPath("docker"); err != nil {
		t.Skip("there is no docker client; e2e/packages.sh installs it on Debian")
	}
	if exec.Command("docker", "info").Run() == nil {
		return &engine{builder: os.Getenv("TORCHBEARER_E2E_BUILDER")}
	}
	dockerd, err := exec.LookPath("dockerd")
	if err != nil {
		t.Skip("no Docker engine runs and there is none to start; e2e/packages.sh installs it on Debian")
	}
	if os.Geteuid() != 0 {
		t.Skip("no Docker engine runs, and only root can start one")
	}
	// Not t.TempDir: the engine's socket path may have 108 characters only.
	dir, err := os.MkdirTemp("", "docker") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeMounted(dir); err != nil {
			t.Error(err)
		}
	})
	e := &engine{host: "unix://" + dir + "/socket", builder: "torchbearer-builder:e2e"}
	p, err := process.Start(t.Context(), process.Options{Path: dockerd, Args: []string{
		"--host", e.host, "--data-root", dir + "/data", "--exec-root", dir + "/run", "--pidfile", dir + "/pid",
		"--iptables=false", "--ip6tables=false", "--bridge=none",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := p.Stop(30 * time.Second); err != nil {
			t.Error(err)
		}
		p.Close()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err = p.Until(ctx, func() error { return exec.CommandContext(ctx, "docker", "--host", e.host, "info").Run() })
	if err != nil {
		t.Skipf("the Docker engine does not start here: %v\n%s", err, p.Tail(5))
	}
	importBuilder(t, e)
	return e
}

// removeMounted removes a folder in which the engine may have left something mounted.
func removeMounted(dir string) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	lines := strings.Split(string(mounts), "\n")
	slices.Reverse(lines) // The last mounted first.
	for _, line := range lines {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			if err := syscall.Unmount(fields[1], 0); err != nil {
				return fmt.Errorf("unmount %s: %w", fields[1], err)
			}
		}
	}
	return os.RemoveAll(dir)
}

// importBuilder makes an image of this machine's Go, a shell and CA certificates, for nothing can be pulled.
func importBuilder(t *testing.T, e *engine) {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("there is no busybox for the builder image; e2e/packages.sh installs busybox-static on Debian")
	}
	script := `set -eu
mkdir -p "$1/bin" "$1/tmp" "$1/usr/local" "$1/etc/ssl/certs"
cp "$2" "$1/bin/busybox"
for name in $("$2" --list); do [ "$name" = busybox ] || ln -s busybox "$1/bin/$name"; done
cp -rL "$3" "$1/usr/local/go"
cp -L /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"
tar -C "$1" -c .`
	root := t.TempDir()
	tar := exec.Command("sh", "-c", script, "sh", root, busybox, goEnv(t, "GOROOT"))
	load := exec.Command("docker", "--host", e.host, "import",
		"--change", "ENV PATH=/usr/local/go/bin:/bin GOTOOLCHAIN=local", "-", e.builder)
	if err := pipe(tar, load); err != nil {
		t.Fatalf("import the builder image: %v", err)
	}
}

// pipe runs two programs, the second reading what the first writes.
func pipe(from, to *exec.Cmd) error {
	reader, writer := io.Pipe()
	var problems bytes.Buffer
	from.Stdout, from.Stderr = writer, &problems
	to.Stdin, to.Stderr = reader, &problems
	if err := to.Start(); err != nil {
		return err
	}
	err := from.Run()
	_ = writer.CloseWithError(err) // It returns nil always.
	if waited := to.Wait(); err == nil {
		err = waited
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, problems.String())
	}
	return nil
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	value, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatalf("go env %s: %v", name, err)
	}
	return strings.TrimSpace(string(value))
}
