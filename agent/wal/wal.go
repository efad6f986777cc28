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
	// Committed is called after each commit, from the goroutine that
	// committed: it must not block. newest is the highest timestamp among the
	// samples, in milliseconds since the epoch.
	Committed(samples int, newest int64)
}

// Options say where and how the log is kept. Dir, Logger, Library, Registry
// and Follower must be set; a zero value elsewhere is the default of
// Prometheus's agent.
type Options struct {
	Dir      string // data directory; the segments lie in its folder wal
	Logger   log.Logger
	Library  *slog.Logger // for tsdb/agent
	Registry prometheus.Registerer
	Follower Follower

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

// Log is the open log. Its methods may be called concurrently.
type Log struct {
	db       *agent.DB
	unused   *remote.Storage
	follower Follower
	metrics  *metrics
	logger   log.Logger
}

var _ storage.AppendableV2 = (*Log)(nil)

// Open locks the data directory, creating it if need be, and opens the log in
// it. Its errors name the directory and say how to mend it.
func Open(opts Options) (*Log, error) {
	if err := checkWritable(opts.Dir); err != nil {
		return nil, err
	}
	// agent.DB asks a remote.Storage what was sent, to decide when it may
	// forget an idle series. One without destinations answers "nothing", so
	// that MaxTime alone decides.
	unused := remote.NewStorage(opts.Library, prometheus.NewRegistry(),
		func() (int64, error) { return 0, nil }, opts.Dir, 0, nil, false)
	db, err := agent.Open(opts.Library, opts.Registry, unused, opts.Dir, opts.library())
	if err != nil {
		return nil, errors.Join(openError(opts.Dir, err), unused.Close())
	}
	return &Log{
		db:       db,
		unused:   unused,
		follower: opts.Follower,
		metrics:  newMetrics(opts.Registry),
		logger:   opts.Logger,
	}, nil
}

func (o *Options) library() *agent.Options {
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
	if err := errors.Join(l.db.Close(), l.unused.Close()); err != nil {
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
	level.Error(l.logger).Log("msg", "writing a scrape to the log went wrong; its samples are lost",
		"samples", samples, "reason", why, "err", err)
}
