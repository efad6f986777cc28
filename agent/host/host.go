// SPDX-License-Identifier: Apache-2.0

// Package host tells what machine an agent is on, and how its data directory is
// filled, as text for people who help from afar.
//
// It promises to be bounded, to change nothing, and to read no file but what the
// kernel tells: of the data directory it gives names and sizes only, and of the
// environment only variables that hold no secret.
package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

const (
	maxFiles = 20_000   // listed
	maxText  = 16 << 10 // of what the kernel tells in one file
)

// Facts writes what bounds and surrounds the process, with its data in dir.
func Facts(ctx context.Context, w io.Writer, dir string) error {
	p := &printer{w: w}
	p.process()
	p.environment()
	p.disk(dir)
	for _, path := range append(procFiles(), cgroupFiles()...) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.file(path)
	}
	return p.err
}

// printer notes the first error of writing.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) process() {
	name, err := os.Hostname()
	if err != nil {
		name = "not known: " + err.Error()
	}
	p.line("host: %s", name)
	p.line("system: %s/%s, compiled by %s", runtime.GOOS, runtime.GOARCH, runtime.Version())
	now := time.Now()
	p.line("clock: %s, which is %s", now.Format(time.RFC3339Nano), now.UTC().Format(time.RFC3339Nano))
	p.line("processors: %d, GOMAXPROCS %d", runtime.NumCPU(), runtime.GOMAXPROCS(0))
	p.line("memory limit of Go: %d bytes", debug.SetMemoryLimit(-1))
	p.line("process: %d, user %d, group %d", os.Getpid(), os.Getuid(), os.Getgid())
}

// environment shows variables that the agent heeds. Others may be secret.
func (p *printer) environment() {
	for _, name := range []string{
		"NODE_NAME", "POD_NAME", "POD_NAMESPACE", "GOMEMLIMIT", "GOGC", "GOMAXPROCS", "GODEBUG",
		"TORCHBEARER_TIMER_SLACK", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT",
	} {
		if value, ok := os.LookupEnv(name); ok {
			p.line("variable %s: %q", name, value)
		}
	}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"} {
		if value, ok := os.LookupEnv(name); ok {
			p.line("variable %s: set%s", name, proxyHost(value))
		}
	}
}

// proxyHost is where a proxy listens, which holds no secret.
func proxyHost(value string) string {
	u, err := url.Parse(value)
	if err != nil || u.Hostname() == "" {
		return ""
	}
	return ", host " + net.JoinHostPort(u.Hostname(), u.Port())
}

func (p *printer) disk(dir string) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		abs = dir
	}
	p.line("data directory: %s", abs)
	text, err := usage(abs)
	if err != nil {
		text = "not known: " + err.Error()
	}
	p.line("its file system: %s", text)
}

// file writes what the kernel tells in a file; one that is not there is left out.
func (p *printer) file(path string) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(f, maxText))
		_ = f.Close() // It was only read.
	}
	if err != nil {
		p.line("\n== %s\nnot readable: %v", path, err)
		return
	}
	p.line("\n== %s\n%s", path, strings.TrimSpace(string(text)))
}

func procFiles() []string {
	return []string{
		"/proc/version", "/proc/uptime", "/proc/loadavg", "/proc/meminfo", "/proc/pressure/cpu", "/proc/pressure/memory",
		"/proc/pressure/io", "/proc/self/status", "/proc/self/limits", "/proc/self/io", "/proc/self/cgroup",
		"/sys/devices/system/clocksource/clocksource0/current_clocksource", "/sys/kernel/mm/transparent_hugepage/enabled",
	}
}

// cgroupFiles are those of the container, by both versions of cgroups. In a
// container its own group is the root of what can be seen.
func cgroupFiles() []string {
	const root = "/sys/fs/cgroup"
	dir := root
	if text, err := os.ReadFile("/proc/self/cgroup"); err == nil {
		for line := range strings.Lines(string(text)) {
			if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
				dir = filepath.Join(root, path)
			}
		}
	}
	if _, err := os.Stat(dir); err != nil {
		dir = root
	}
	var files []string
	for _, name := range []string{
		"memory.max", "memory.high", "memory.current", "memory.peak", "memory.events", "memory.stat", "memory.pressure",
		"cpu.max", "cpu.weight", "cpu.stat", "cpu.pressure", "io.pressure", "pids.max", "pids.current",
	} {
		files = append(files, filepath.Join(dir, name))
	}
	for _, name := range []string{
		"memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.failcnt",
		"cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us", "cpu/cpu.stat",
	} {
		files = append(files, filepath.Join(root, name))
	}
	return files
}

// Files writes the names, sizes and times of what is in a directory.
func Files(ctx context.Context, w io.Writer, dir string) error {
	p := &printer{w: w}
	p.line("%14s  %-24s  %-10s  %s", "bytes", "changed", "mode", "name")
	var files, bytes int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			p.line("%s: %v", path, err)
			return nil
		case files >= maxFiles:
			p.line("cut: there are more than %d files", maxFiles)
			return fs.SkipAll
		}
		info, err := d.Info()
		if err != nil {
			return nil // The agent removed it meanwhile.
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files++
		if info.Mode().IsRegular() {
			bytes += info.Size()
		}
		p.line("%14d  %-24s  %-10s  %q", info.Size(), info.ModTime().UTC().Format("2006-01-02T15:04:05.000Z"), info.Mode(), name)
		return p.err
	})
	p.line("in all %d entries with %d bytes", files, bytes)
	return errors.Join(err, p.err)
}
