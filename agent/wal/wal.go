// SPDX-License-Identifier: Apache-2.0

// Package wal owns the log on disk, the only queue between scraping and
// shipping: tsdb/agent.DB of Prometheus, unmodified, with its file format and
// its append rules.
//
// It promises that a commit which returned nil is in the page cache, so that a
// killed process loses nothing of it, and that every commit which failed is
// counted with its samples. It never reads what it wrote, never drops a sample
// in silence, and does not know who reads the log.
package wal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/agent"
	"github.com/prometheus/prometheus/util/compression"
)

// Follower is told of what was committed, to read it from the log.
type Follower interface {
	// Committed is called after each commit with what it wrote, from the
	// goroutine that committed: it must not block. newest is the highest
	// timestamp, in milliseconds since the epoch.
	Committed(samples, histograms, exemplars int, newest int64)
}

// Options say where and how the log is kept. Those above Compression must be
// set; a zero value elsewhere is the default of Prometheus's agent.
type Options struct {
	Dir      string // data directory; the segments lie in its folder wal
	Logger   log.Logger
	Library  *slog.Logger // for tsdb/agent
	Registry prometheus.Registerer
	Follower Follower
	// Sent knows how far was sent: what is idle since before that may be
	// forgotten. The log does not close it.
	Sent *remote.Storage

	Compression       compression.Type
	SegmentSize       int           // bytes
	TruncateFrequency time.Duration // how often what is old is removed
	MinTime, MaxTime  time.Duration // age at which an idle series may, and must, be forgotten
	NoLockfile        bool

	StartTimestamps              bool // store start timestamps with samples
	StartTimestampZeroSamples    bool // write a zero sample at a start timestamp
	CheckpointFromInMemorySeries bool
	CheckpointBatchSize          int
}

// Log is the log on disk. Open must have returned nil before anything else is
// called; then its methods may be called concurrently.
type Log struct {
	opts    Options
	db      *agent.DB
	metrics *metrics
}

var _ storage.AppendableV2 = (*Log)(nil)

// New returns a log that is not open yet.
func New(opts Options) *Log {
	return &Log{opts: opts, metrics: newMetrics(opts.Registry)}
}

// Open locks the data directory, creating it if need be, and reads the log in
// it, which takes as long as that is large. Its errors name the directory and
// say how to mend it.
func (l *Log) Open() error {
	if err := checkWritable(l.opts.Dir); err != nil {
		return err
	}
	db, err := agent.Open(l.opts.Library, l.opts.Registry, l.opts.Sent, l.opts.Dir, l.opts.db())
	if err != nil {
		return openError(l.opts.Dir, err)
	}
	l.db = db
	return nil
}

func (o *Options) db() *agent.Options {
	opts := agent.DefaultOptions()
	opts.WALCompression = o.Compression
	opts.WALSegmentSize = o.SegmentSize
	opts.TruncateFrequency = o.TruncateFrequency
	opts.MinWALTime = o.MinTime.Milliseconds()
	opts.MaxWALTime = o.MaxTime.Milliseconds()
	opts.NoLockfile = o.NoLockfile
	opts.EnableSTStorage = o.StartTimestamps
	opts.EnableSTAsZeroSample = o.StartTimestampZeroSamples
	// Remote Write 2.0 takes metadata from the log.
	opts.EnableMetadataWALRecords = true
	opts.CheckpointFromInMemorySeries = o.CheckpointFromInMemorySeries
	opts.CheckpointBatchSize = o.CheckpointBatchSize
	return opts
}

// checkWritable finds out before anything else whether files can be made in
// dir, since the library's own error would name a temporary file.
func checkWritable(dir string) error {
	const remedy = "give the process a writable volume there, or choose another --storage.agent.path"
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("create data directory %s: %w; %s", dir, reason(err), remedy)
	}
	probe, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return fmt.Errorf("data directory %s is not writable: %w; %s", dir, reason(err), remedy)
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
	return fmt.Errorf("open log in %s: %w; if its files are damaged, move %s aside and start again", dir, err, filepath.Join(dir, "wal"))
}

// AppenderV2 returns an appender for one scrape. It is not for concurrent use
// and ends with Commit or Rollback.
func (l *Log) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &appender{AppenderV2: l.db.AppenderV2(ctx), log: l}
}

// Close writes out what is buffered and unlocks the directory. Nobody may
// append any more.
func (l *Log) Close() error {
	if err := l.db.Close(); err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	return nil
}

func (l *Log) commitFailed(samples int, err error) {
	why := reasonOther
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		why = reasonNoSpace
	}
	l.metrics.samplesLost.WithLabelValues(why).Add(float64(samples))
	level.Error(l.opts.Logger).Log("msg", "writing a scrape to the log went wrong; its samples are lost",
		"samples", samples, "reason", why, "err", err)
}
