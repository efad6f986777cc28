// SPDX-License-Identifier: Apache-2.0

//go:build unix

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"

	"torchbearer/agent/logged"
	"torchbearer/agent/shipper"
	"torchbearer/agent/wal"
	"torchbearer/config"
)

// simConfig is what reloads change.
type simConfig struct {
	two     bool
	label   int // another external label
	address int // of a
	renamed bool
	removed bool // b
}

func (c simConfig) text(url string, life int, backoff time.Duration) string {
	protocol := v1
	if c.two {
		protocol = v2
	}
	text := fmt.Sprintf("global:\n  external_labels: {clustername: aks-1, environment: prod, label: l%d}\nremote_write:\n", c.label)
	one := func(name, path string) {
		text += fmt.Sprintf("  - {name: %s, url: %s/%s/write, protobuf_message: %s, headers: {X-Life: '%d'}, metadata_config: {send: false}, queue_config: {batch_send_deadline: 200ms, max_samples_per_send: %d, max_shards: %d, min_backoff: 50ms, max_backoff: %s}}\n",
			name, url, path, protocol, life, simPerRequest, simShards, backoff)
	}
	name := "a"
	if c.renamed {
		name = "a2"
	}
	one(name, fmt.Sprintf("a%d", c.address))
	if !c.removed {
		one("b", "b")
	}
	return text
}

// What a destination has on its way at most.
const simPerRequest, simShards = 100, 4

// slowLog takes long to claim a part of the log, while all else goes on.
type slowLog struct{ *source }

func (l slowLog) Claim(from logged.Position, giveUp func(logged.Position, string)) shipper.Claim {
	c := l.source.Claim(from, giveUp)
	time.Sleep(1500 * time.Millisecond)
	return c
}

// simPace is how fast a process does what it does again and again.
type simPace struct {
	truncate, minTime, maxTime time.Duration
	retention                  time.Duration
	backoff                    time.Duration // at most
}

// hurried has all that happens in hours happen in seconds.
func hurried() simPace {
	return simPace{
		truncate: 2 * time.Second, minTime: 3 * time.Second, maxTime: 6 * time.Second,
		retention: 24 * time.Hour, backoff: 500 * time.Millisecond,
	}
}

// boot starts a process on the directory.
func (s *simulation) boot() {
	s.lives++
	s.receiver.mu.Lock()
	s.receiver.life = s.lives
	s.receiver.kill = s.freeze
	s.receiver.mu.Unlock()
	s.reg = prometheus.NewRegistry()
	a := &Agent{}
	var seen shipper.Log = (*source)(a)
	if s.slowClaims {
		seen = slowLog{(*source)(a)}
	}
	a.shipper = shipper.New(shipper.Options{
		Dir: s.dir, Logger: log.NewNopLogger(), Registry: s.reg, Log: seen,
		FlushDeadline: 3 * time.Second, Retention: s.pace.retention,
	})
	a.wal = wal.New(wal.Options{
		Dir: s.dir, Logger: log.NewNopLogger(), Library: promslog.NewNopLogger(), Registry: s.reg, Follower: a.shipper,
		SegmentSize: 32 << 10, TruncateFrequency: s.pace.truncate, MinTime: s.pace.minTime, MaxTime: s.pace.maxTime,
		NoLockfile: true, MaxBytes: s.budget, CheckpointFromInMemorySeries: s.fromCache,
	})
	if opened, err := a.open(s.t.Context()); !opened {
		s.t.Fatalf("open: %v", err)
	}
	s.agent = a
	s.apply()
}

func (s *simulation) apply() {
	path := filepath.Join(s.root, "torchbearer.yaml")
	if err := os.WriteFile(path, []byte(s.config.text(s.url, s.lives, s.pace.backoff)), 0o600); err != nil {
		s.t.Fatal(err)
	}
	cfg, err := config.Load(path, config.Options{RequiredLabels: []string{"clustername", "environment"}})
	time.Sleep(time.Microsecond) // No two ledgers begin at the same time.
	if err == nil {
		err = s.agent.shipper.Apply(cfg)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.opened()
}

func (s *simulation) reload() {
	n := s.rnd.IntN(5)
	if s.budget > 0 {
		n %= 2 // Else counters end with what they are of.
	}
	switch n {
	case 0:
		s.config.label++
	case 1:
		s.config.two = !s.config.two
	case 2:
		s.config.address++
	case 3:
		s.config.renamed = !s.config.renamed
	case 4:
		s.config.removed = !s.config.removed
	}
	s.note("reload %d", n)
	s.renamed = s.renamed || n > 1
	s.apply()
}

// freeze copies the directory of the process that a request has met the end of.
// The caller holds receiver.mu.
func (s *simulation) freeze() {
	to := filepath.Join(s.root, strconv.Itoa(s.lives))
	if err := copyDirectory(s.dir, to); err != nil {
		s.receiver.wrong = append(s.receiver.wrong, err.Error())
	}
	s.killed = to
}

// kill ends the process at once; change may change what it leaves.
func (s *simulation) kill(change func(copied string)) {
	s.receiver.mu.Lock()
	if s.killed == "" {
		s.receiver.life, s.receiver.killIn = -1, 0
		s.freeze()
		if change != nil {
			change(s.killed)
		}
	}
	s.receiver.mu.Unlock()
	s.raise()
}

// raise starts the next process, if the one before was killed.
func (s *simulation) raise() {
	s.receiver.mu.Lock()
	copied := s.killed
	s.receiver.mu.Unlock()
	if copied == "" {
		return
	}
	s.clean = false
	s.count()
	former := s.agent
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // What it would still do, it does to a directory that nobody reads.
	if err := former.closeSinks(ctx); err != nil {
		s.t.Errorf("end of the killed: %v", err)
	}
	s.receiver.mu.Lock()
	s.killed = ""
	s.receiver.mu.Unlock()
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Error(err)
	}
	s.dir = copied
	s.boot()
}

func (s *simulation) stop() {
	s.note("stop")
	if err := s.agent.closeSinks(context.Background()); err != nil && !errors.Is(err, shipper.ErrDeadline) {
		s.t.Errorf("stop: %v", err)
	}
	s.count()
	s.receiver.mu.Lock()
	s.receiver.killIn, s.killed = 0, ""
	s.receiver.mu.Unlock()
}

// powerCut ends the process together with what is not on the disk. All that was
// written to the log a second before must be.
func (s *simulation) powerCut() {
	s.note("power cut")
	s.raise()
	since, err := look(s.dir)
	if err != nil {
		return // Files come and go.
	}
	life, at := s.lives, len(s.committed)
	n := 1 + s.rnd.IntN(10)
	s.scrapes(n, 100*time.Millisecond)
	time.Sleep(1050*time.Millisecond - time.Duration(n)*100*time.Millisecond)
	if s.lives != life {
		return
	}
	s.powerless = true
	s.kill(func(copied string) {
		for i := at; i < len(s.committed); i++ {
			s.excused[i] = true
		}
		if err := cutPower(s.rnd, since, s.dir, copied); err != nil {
			s.t.Errorf("cut: %v", err)
		}
	})
}
