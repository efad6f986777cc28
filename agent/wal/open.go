// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"torchbearer/agent/disk"
	"torchbearer/agent/upstream/tsdb/agent"
)

const (
	journalFolder    = "ship"        // of the shipper
	serverFolder     = "chunks_head" // of a Prometheus that is no agent
	generationFile   = "generation"
	lockFile         = "lock"  // of tsdbutil.DirLocker
	maxGeneration    = 1 << 30 // a higher number is none of ours
	cleanStartMetric = "prometheus_agent_clean_start"

	remedyWritable = "give the process a writable volume there, or choose another --storage.agent.path"
)

// Open locks the data directory, creating it if need be, and begins a new
// generation of the log in it. What an earlier process left there is held; that
// takes no longer when it is much. Its errors name the directory and say how to
// mend it.
func (l *Log) Open() (err error) {
	dir := l.opts.Dir
	if err := checkWritable(dir); err != nil {
		return err
	}
	if err := l.lock(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.unlock())
		}
	}()
	if err := l.prepare(); err != nil {
		return fmt.Errorf("open log in %s: %w; if the process may not write to all of it, change that or choose another --storage.agent.path", dir, err)
	}
	l.idle = remote.NewStorage(l.opts.Library, prometheus.NewRegistry(), nil, dir, 0, nil, false)
	library := watched(l.opts.Library, &l.ending, l.look, l.settleDown)
	l.db, err = agent.Open(library, l.opts.Registry, l.idle, dir, l.opts.db(l.table.keep))
	if err != nil {
		return errors.Join(openError(dir, err), l.idle.Close())
	}
	l.table.keeper = l.db
	l.showLock()
	l.look()
	l.began = l.opts.Now()
	l.writers.start()
	return nil
}

// lock takes the same lock as tsdb/agent does, but before anything is moved.
func (l *Log) lock() error {
	l.locks = prometheus.NewRegistry()
	if l.opts.NoLockfile {
		return nil
	}
	path := filepath.Join(l.opts.Dir, lockFile)
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("open log: %s is not a file; move it away, or choose another --storage.agent.path", path)
	}
	locker, err := tsdbutil.NewDirLocker(l.opts.Dir, "agent", l.opts.Library, l.locks)
	if err == nil {
		err = locker.Lock()
	}
	if err != nil {
		return openError(l.opts.Dir, err)
	}
	l.locker = locker
	return nil
}

// showLock puts what the lock found in place of what tsdb/agent says, which was
// told not to lock.
func (l *Log) showLock() {
	if l.locker == nil {
		return
	}
	l.opts.Registry.Unregister(prometheus.NewGauge(prometheus.GaugeOpts{Name: cleanStartMetric, Help: "As tsdb/agent has it."}))
	l.opts.Registry.MustRegister(l.locks)
}

func (l *Log) unlock() error {
	if l.locker == nil {
		return nil
	}
	return l.locker.Release()
}

// prepare makes the hold, and a generation in it that is written to.
func (l *Log) prepare() error {
	if err := l.adopt(); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(l.hold.dir+partSuffix), makeFolder(l.hold.dir)); err != nil {
		return err
	}
	if err := l.probeLinks(); err != nil {
		return err
	}
	now := l.opts.Now()
	highest, err := l.hold.scan(now, l.opts.MaxAge)
	if err != nil {
		return err
	}
	number := max(highest, l.lastGeneration()) + 1
	g := &generation{number: number, dir: generationName(l.hold.dir, number)}
	if err := os.Mkdir(g.dir, 0o777); err != nil {
		return fmt.Errorf("begin a generation of the log: %w", err)
	}
	l.rememberGeneration(number)
	l.hold.held = append(l.hold.held, g)
	return errors.Join(disk.SyncDir(l.hold.dir), disk.SyncDir(l.opts.Dir))
}

// makeFolder makes a folder, if it is not there.
func makeFolder(dir string) error {
	if err := os.Mkdir(dir, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("create %s: %w; "+remedyWritable, dir, reason(err))
	}
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
		return errors.Join(err, fmt.Errorf("%s is not a folder; move it away", dir))
	}
	return nil
}

// probeLinks finds out whether the hold can have links to the log.
func (l *Log) probeLinks() error {
	from, to := filepath.Join(l.opts.Dir, ".probe"), filepath.Join(l.hold.dir, ".probe")
	err := errors.Join(remove(to), os.WriteFile(from, nil, 0o600))
	if err == nil {
		err = l.hold.link(from, to)
	}
	if err = errors.Join(err, remove(to), remove(from)); err != nil {
		return fmt.Errorf("hard links from %s into %s are needed to keep what was not sent yet, and are not possible: %w; choose a --storage.agent.path that is one whole file system with hard links",
			l.opts.Dir, l.hold.dir, err)
	}
	return nil
}

// lastGeneration is the number that was begun last, 0 if that is not known. The
// hold knows it too, unless someone has deleted it: then positions that others
// remember must not come to mean something else.
func (l *Log) lastGeneration() uint64 {
	f, err := openSegment(filepath.Join(l.opts.Dir, generationFile))
	if err != nil {
		return 0
	}
	defer func() { _ = f.Close() }() // It was only read.
	text := make([]byte, 20)
	n, _ := f.Read(text)
	number, err := strconv.ParseUint(strings.TrimSpace(string(text[:n])), 10, 32)
	if err != nil || number > maxGeneration {
		return 0
	}
	return number
}

func (l *Log) rememberGeneration(number uint64) {
	path := filepath.Join(l.opts.Dir, generationFile)
	err := os.WriteFile(path+partSuffix, []byte(strconv.FormatUint(number, 10)+"\n"), 0o666)
	if err == nil {
		err = os.Rename(path+partSuffix, path)
	}
	if err != nil {
		level.Warn(l.opts.Logger).Log("msg", "remembering the number of this start went wrong", "err", err)
	}
}

// checkWritable finds out before anything else whether files can be made in
// dir, since the library's own error would name a temporary file.
func checkWritable(dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("create data directory %s: %w; "+remedyWritable, dir, reason(err))
	}
	probe, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return fmt.Errorf("data directory %s is not writable: %w; "+remedyWritable, dir, reason(err))
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// reason strips the path that an error of package os repeats.
func reason(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

func openError(dir string, err error) error {
	// flock(2) answers "resource temporarily unavailable", which tells nobody
	// that a second agent is meant.
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		return fmt.Errorf("data directory %s is locked by another agent: %w; stop it, or choose another --storage.agent.path", dir, err)
	}
	return fmt.Errorf("open log in %s: %w; "+remedyWritable, dir, err)
}

// leastChance is how long what an earlier process left may still be sent,
// however old its files say that it is: the clock may have jumped.
func leastChance(maxAge time.Duration) time.Duration { return min(time.Hour, maxAge/4) }
