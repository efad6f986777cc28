// SPDX-License-Identifier: Apache-2.0

// Package wal owns the log on disk, the only queue between scraping and
// shipping: tsdb/agent.DB of Prometheus, unmodified, with its file format and
// its append rules, and around it what that lacks. Its files are held, by hard
// links, until all who claim them are done with them; every start begins a
// generation of its own, so that nothing is replayed or repaired.
//
// It promises that a commit which returned nil is in the page cache, so that a
// killed process loses nothing of it, and on the disk a second later; that every
// commit which failed is counted with its samples; that what is claimed stays
// until the disk budget or the retention takes it, which whoever claims it is
// told before; and that damage in the log costs what is damaged only. It does
// not know who reads the log.
package wal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/prometheus/prometheus/util/compression"

	"torchbearer/agent/logged"
	"torchbearer/agent/packed"
	"torchbearer/agent/upstream/tsdb/agent"
)

// Follower is told of what is committed, to read it from the log. Its methods are
// called by the goroutine that commits: they must not block.
type Follower interface {
	// Committing is called before each commit of anything with how many samples
	// and histograms it has, also when it is not tried. One of the others is called
	// when it has ended.
	Committing(points int)
	// Committed is for what is in the log. newest is the highest timestamp, in
	// milliseconds since the epoch.
	Committed(samples, histograms, exemplars int, newest int64)
	// Lost is for what is not; the reason is no_space or write_error. Some of it
	// may be in the log all the same.
	Lost(points int, reason string)
}

// Options say where and how the log is kept. Those above Compression must be
// set; a zero value elsewhere is a default.
type Options struct {
	Dir      string // data directory; the log lies in its folders wal and hold
	Logger   log.Logger
	Library  *slog.Logger // for tsdb/agent
	Registry prometheus.Registerer
	Follower Follower

	Compression       compression.Type
	SegmentSize       int           // bytes; by default of MaxBytes
	TruncateFrequency time.Duration // how often tsdb/agent removes what is old
	MinTime, MaxTime  time.Duration // age at which an idle series may, and must, be forgotten
	NoLockfile        bool

	MaxBytes int64 // of the whole data directory; 2 GiB by default
	// MaxAge is that of what is held; a day by default. What an earlier process
	// left has an hour in any case, or a quarter of MaxAge if that is less.
	MaxAge time.Duration
	// ShipForeign holds the log that a Prometheus agent has left in Dir, too.
	// Otherwise it is removed.
	ShipForeign bool

	StartTimestamps              bool // store start timestamps with samples; the records have room for them in any case
	StartTimestampZeroSamples    bool // write a zero sample at a start timestamp
	CheckpointFromInMemorySeries bool
	CheckpointBatchSize          int

	// Full says whether there is no room for new series, after so many that were
	// created; nil is that there always is. It must be quick.
	Full func(created int64) bool

	Now func() time.Time // time.Now by default; ages are differences of it
}

const (
	defaultMaxBytes = 2 << 30
	defaultMaxAge   = 24 * time.Hour
	defaultMinTime  = 5 * time.Minute
	defaultMaxTime  = 15 * time.Minute

	minSegmentSize, maxSegmentSize = 1 << 20, 16 << 20
	segmentsPerBudget              = 32
	smallBudget                    = 256 << 20
	// stripes are what tsdb/agent spreads the labels of series over, which are
	// looked up when a series is new.
	stripes = 256
)

func (o *Options) setDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Full == nil {
		o.Full = func(int64) bool { return false }
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultMaxBytes
	}
	if o.MaxAge <= 0 {
		o.MaxAge = defaultMaxAge
	}
	if o.MinTime <= 0 {
		o.MinTime = defaultMinTime
	}
	if o.MaxTime <= 0 {
		o.MaxTime = max(defaultMaxTime, o.MinTime)
	}
	if o.SegmentSize <= 0 {
		o.SegmentSize = int(min(max(o.MaxBytes/segmentsPerBudget, minSegmentSize), maxSegmentSize))
	}
	o.SegmentSize = max(o.SegmentSize/pageSize*pageSize, pageSize)
	if o.TruncateFrequency <= 0 {
		o.TruncateFrequency = 2 * time.Minute
		if o.MaxBytes < smallBudget {
			o.TruncateFrequency = 15 * time.Second
		}
	}
}

// Log is the log on disk. Open must have returned nil before anything else is
// called; then its methods may be called concurrently.
type Log struct {
	opts    Options
	metrics *metrics
	damage  *damage
	hold    *hold
	table   *table
	claims  claims

	jobs      jobs
	admission admission
	top       top
	trouble   trouble

	forecast forecast

	unfinished unfinished
	writers    writers

	locker *tsdbutil.DirLocker // nil when there is no lock
	locks  *prometheus.Registry
	idle   *remote.Storage // tsdb/agent must have one; it does nothing
	db     *agent.DB

	began     time.Time
	closing   chan struct{}
	ending    closing
	measuring episode // for the goroutine that keeps
}

var _ storage.AppendableV2 = (*Log)(nil)

// New returns a log that is not open yet.
func New(opts Options) *Log {
	opts.setDefaults()
	m := newMetrics(opts.Registry)
	m.maxBytes.Set(float64(opts.MaxBytes))
	l := &Log{
		opts: opts, metrics: m, damage: newDamage(opts.Registry, opts.Logger), table: newTable(), closing: make(chan struct{}),
		forecast: forecast{every: opts.TruncateFrequency},
		hold: &hold{
			dir: filepath.Join(opts.Dir, holdFolder), log: filepath.Join(opts.Dir, logFolder),
			logger: opts.Logger, metrics: m, now: opts.Now, link: os.Link,
			rolled: make(chan struct{}, 1), segmentSize: opts.SegmentSize,
		},
		jobs: jobs{byName: map[string]*job{}},
	}
	l.admission.table, l.admission.jobs, l.admission.full, l.admission.now = l.table, &l.jobs, opts.Full, opts.Now
	l.Limit(Limits{})
	opts.Registry.MustRegister(&seriesCollector{l})
	return l
}

// dense says whether the log has the records that start timestamps have room in,
// also without any: each ref is counted from the one before, which compression
// makes a third less of. Zero samples come from start timestamps that must not
// be in the log then.
func (o *Options) dense() bool { return o.StartTimestamps || !o.StartTimestampZeroSamples }

func (o *Options) db(forgetting func(chunks.HeadSeriesRef, packed.Labels)) *agent.Options {
	opts := agent.DefaultOptions()
	opts.WALCompression = o.Compression
	opts.WALSegmentSize = o.SegmentSize
	opts.StripeSize = stripes
	opts.TruncateFrequency = o.TruncateFrequency
	opts.MinWALTime = o.MinTime.Milliseconds()
	opts.MaxWALTime = o.MaxTime.Milliseconds()
	opts.NoLockfile = true // It is locked already.
	opts.EnableSTStorage = o.dense()
	opts.EnableSTAsZeroSample = o.StartTimestampZeroSamples
	// Remote Write 2.0 takes metadata from the log.
	opts.EnableMetadataWALRecords = true
	opts.CheckpointFromInMemorySeries = o.CheckpointFromInMemorySeries
	opts.CheckpointBatchSize = o.CheckpointBatchSize
	opts.Forgetting = forgetting
	return opts
}

// AppenderV2 returns an appender for one scrape, of the job that the context has
// by logged.WithJob; without one it is the agent's own, which no limit stops. It
// is not for concurrent use and ends with Commit or Rollback. While nothing can
// be written it takes samples, too, and Commit counts them as lost.
func (l *Log) AppenderV2(ctx context.Context) storage.AppenderV2 {
	name := logged.JobOf(ctx)
	j := l.jobs.get(cmp.Or(name, ownJob), l.opts.Now())
	next := l.pooled(ctx)
	keeper, _ := next.(labelKeeper)
	return &appender{AppenderV2: next, log: l, scribe: scribe{table: l.table, job: j, keeper: keeper}, guarded: name != ""}
}

// Begin is the oldest position whose samples are held.
func (l *Log) Begin() logged.Position { return l.hold.begin() }

// End is a position such that everything committed before the call is before it.
func (l *Log) End() logged.Position { return l.hold.end() }

// Reader reads from a position on, or from what is held next after it. Whoever
// reads should have a Claim to it, or may find gaps. The readers that there are
// when the log is closed can still read all of it.
func (l *Log) Reader(at logged.Position) *Reader {
	return newReader(view{l.hold}, l.table.find, l.known(at), l.damage)
}

// Skimmer is a Reader for who only counts: it knows no series, which saves the
// time and memory to find those of earlier processes.
func (l *Log) Skimmer(at logged.Position) *Reader {
	r := l.Reader(at)
	r.skims = true
	return r
}

// Size is how many bytes of samples are held from a position on.
func (l *Log) Size(from logged.Position) int64 { return l.hold.size(from) }

// Claim keeps everything from a position on until the claim is moved or
// dropped. giveUp, if not nil, is called from the goroutine of Run when the disk
// budget or the retention, whose name is reason, takes what is before a position
// all the same: what is there can be read until it returns, and the claim
// begins at the position then.
//
// Until the first claim, Run frees nothing for a minute.
func (l *Log) Claim(at logged.Position, giveUp func(to logged.Position, reason string)) *Claim {
	return l.claims.add(l.known(at), giveUp)
}

// known replaces a position of a generation that was never begun: whoever
// remembers it remembers another data directory.
func (l *Log) known(at logged.Position) logged.Position {
	if at.Generation <= (view{l.hold}).current() {
		return at
	}
	begin := l.Begin()
	level.Warn(l.opts.Logger).Log("msg", "a position is not of this log; beginning where the log does", "position", at.String(), "begin", begin.String())
	return begin
}

// SeriesOf returns a series of the current generation.
func (l *Log) SeriesOf(ref chunks.HeadSeriesRef) (logged.Series, bool) { return l.table.find(ref) }

// Close writes out what is buffered and unlocks the directory. Nobody may
// append any more, and Run must have returned. Readers go on working, but
// another process may begin to read the same: who reads should be done before.
func (l *Log) Close() error {
	close(l.closing)
	l.look()
	l.ending.begin()
	err := l.db.Close()
	l.writers.close()
	l.look()
	err = errors.Join(err, l.hold.sync(), l.idle.Close())
	l.hold.close()
	l.opts.Registry.Unregister(l.locks)
	if err = errors.Join(err, l.unlock()); err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	return nil
}

func (l *Log) look() { _ = l.hold.follow() } // Errors are counted and logged.
