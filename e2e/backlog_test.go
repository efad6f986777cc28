// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/prometheus/prometheus/util/compression"

	"torchbearer/e2e/load"
	"torchbearer/e2e/process"
)

// TestBacklog: with a large log of a former process in the data directory torchbearer is ready and scrapes within
// seconds, whatever it has to ship, ships all of it, and takes no more memory for that than for a small one.
// TORCHBEARER_BACKLOG is how many MiB of log there are; make backlog makes that a GiB, which takes minutes.
func TestBacklog(t *testing.T) {
	const usual, series = 32, 30_000
	size := usual
	if n, err := strconv.Atoi(os.Getenv("TORCHBEARER_BACKLOG")); err == nil {
		size = n
	}
	dir := t.TempDir()
	samples := writeLog(t, filepath.Join(dir, "data", "wal"), series, size<<20)
	if size > usual {
		compareReplay(t, dir)
	}

	fleet, sink := startFleet(t, load.Options{Series: 500}), startSink(t)
	config, address, path := filepath.Join(dir, "torchbearer.yaml"), freeAddress(t), lean(t)
	writeFile(t, config, global(time.Second)+remoteWrite(sink.url, messageV2)+jobs(job("load", fleet.Addresses())))
	began := time.Now()
	a := &agent{url: "http://" + address}
	a.Process = startProcess(t, path, "--config.file="+config, "--storage.agent.path="+filepath.Join(dir, "data"), "--web.listen-address="+address,
		"--storage.agent.ship-former-wal", "--storage.agent.max-bytes=8GiB", "--heartbeat.interval=0")
	a.until(t, 10*time.Second, "the agent is ready", func(ctx context.Context) error { return process.Answers(ctx, a.url+"/-/ready") })
	ready := time.Since(began)
	a.until(t, 10*time.Second, "a target is scraped", func(context.Context) error {
		if fleet.Fewest() == 0 {
			return fmt.Errorf("no answer yet, %s after the start", time.Since(began))
		}
		return nil
	})
	scraped := time.Since(began)
	peak := 0
	a.until(t, time.Duration(size+60)*time.Second, "the backlog is shipped", func(context.Context) error {
		_, anonymous, err := a.Footprint()
		peak = max(peak, anonymous)
		if n := sink.samples.Load(); err == nil && n < int64(samples) {
			err = fmt.Errorf("%d of %d samples have come", n, samples)
		}
		return err
	})
	took := time.Since(began)
	t.Logf("%d MiB: ready after %s, first scrape after %s, %d samples shipped after %s: %.1f MiB and %.0f samples a second, at most %.1f MB of anonymous memory",
		size, ready, scraped, samples, took, float64(size)/took.Seconds(), float64(samples)/took.Seconds(), float64(peak)/1e6)
	if most := 160 << 20; peak > most {
		t.Errorf("%d bytes of anonymous memory, want %d at most", peak, most)
	}
}

// compareReplay tells how long Prometheus's agent takes to be ready with the same log.
func compareReplay(t *testing.T, dir string) {
	t.Helper()
	path, err := process.Neighbour("prometheus")
	if err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(dir, "theirs")
	if err := os.CopyFS(theirs, os.DirFS(filepath.Join(dir, "data"))); err != nil {
		t.Fatal(err)
	}
	config, address := filepath.Join(dir, "prometheus.yml"), freeAddress(t)
	writeFile(t, config, "global: {}\n")
	began := time.Now()
	p := startProcess(t, path, "--agent", "--config.file="+config, "--storage.agent.path="+theirs, "--web.listen-address="+address)
	until(t, 5*time.Minute, "Prometheus is ready", func(ctx context.Context) error { return process.Answers(ctx, "http://"+address+"/-/ready") })
	took := time.Since(began)
	peak, err := p.PeakMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("Prometheus's agent is ready after %s, with %.1f MB of resident memory at most", took, float64(peak)/1e6)
	p.Close()
	if err := os.RemoveAll(theirs); err != nil {
		t.Fatal(err)
	}
}

// writeLog writes a log as Prometheus's agent does, of scrapes of 500 series each, and returns how many samples it has.
func writeLog(t *testing.T, dir string, series, size int) (samples int) {
	t.Helper()
	log, err := wlog.NewSize(slog.New(slog.DiscardHandler), nil, dir, wlog.DefaultSegmentSize, compression.Snappy)
	if err != nil {
		t.Fatal(err)
	}
	var encoder record.Encoder
	var all []record.RefSeries
	for i := range series {
		all = append(all, record.RefSeries{Ref: chunks.HeadSeriesRef(i + 1), Labels: labels.FromStrings("__name__", "former_value",
			"instance", "127.0.0.1:"+strconv.Itoa(10_000+i/500), "job", "former", "namespace", "shop", "pod", "checkout-7d9f8b6c5-x2x7k", "series", strconv.Itoa(i%500))})
	}
	if err := log.Log(encoder.Series(all, nil)); err != nil {
		t.Fatal(err)
	}
	const interval, each = 100, 500 // So near that none of it is too old.
	at := time.Now().UnixMilli() - interval*int64(size/(series*6)+100)
	var buf []byte
	scrape := make([]record.RefSample, each)
	for written, k := 0, int64(1); written < size; k++ {
		for from := 0; from < series && written < size; from += each {
			for i := range scrape {
				own := int64(uint32(i+1) * 2654435761 >> 20)
				scrape[i] = record.RefSample{Ref: chunks.HeadSeriesRef(from + i + 1), T: at + k*interval, V: float64(own*load.Step + k)}
			}
			buf = encoder.Samples(scrape, buf[:0])
			if err := log.Log(buf); err != nil {
				t.Fatal(err)
			}
			samples += each
			written += each * 8 // It is that, after compression, within a few hundredths.
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return samples
}
