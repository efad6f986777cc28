// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"torchbearer/e2e/load"
	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// TestDiskBytes: torchbearer, which brings its log and its journal to the disk every second, makes the disk write no more
// for a sample than Prometheus's agent, which leaves that to the kernel.
func TestDiskBytes(t *testing.T) {
	dir := t.TempDir()
	if disk, err := process.OnDisk(dir); err != nil || !disk {
		t.Skipf("%s is not on a disk: %v", dir, err)
	}
	prometheus, err := process.Neighbour("prometheus")
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := startWriter(t, filepath.Join(dir, "ours"), lean(t)), startWriter(t, filepath.Join(dir, "theirs"), prometheus)
	for _, w := range []*writer{ours, theirs} {
		until(t, 60*time.Second, "all targets are scraped", w.scraped)
	}
	time.Sleep(5 * time.Second) // What each series costs once is past.
	ours.mark(t)
	theirs.mark(t)
	time.Sleep(15 * time.Second)
	we, they := ours.perSample(t), theirs.perSample(t)
	t.Logf("%.2f bytes a sample, Prometheus's agent %.2f", we, they)
	if we > they {
		t.Errorf("%.2f bytes a sample are written to the disk, by Prometheus's agent %.2f", we, they)
	}
}

// A writer is an agent at work on the load of a node.
type writer struct {
	*process.Process
	fleet          *load.Fleet
	written, shown int // at the mark
}

func startWriter(t *testing.T, dir, path string) *writer {
	t.Helper()
	w := &writer{fleet: startFleet(t, load.Options{Targets: 12, Series: 500, Spread: true})}
	dest := receiver.NewCounter(load.Step, load.Metric)
	if err := dest.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dest.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config.yaml")
	writeFile(t, config, global(time.Second)+remoteWrite(dest.URL(), messageV2)+jobs(job("load", w.fleet.Addresses())))
	w.Process = startProcess(t, path, "--agent", "--config.file="+config, "--storage.agent.path="+filepath.Join(dir, "data"), "--web.listen-address="+freeAddress(t))
	return w
}

func (w *writer) scraped(context.Context) error {
	if w.fleet.Fewest() < 3 {
		return fmt.Errorf("a target has answered %d scrapes", w.fleet.Fewest())
	}
	return nil
}

func (w *writer) mark(t *testing.T) {
	t.Helper()
	var err error
	if w.written, err = w.Written(); err != nil {
		t.Fatal(err)
	}
	w.shown = w.fleet.Samples()
}

func (w *writer) perSample(t *testing.T) float64 {
	t.Helper()
	written, err := w.Written()
	if err != nil {
		t.Fatal(err)
	}
	return float64(written-w.written) / float64(w.fleet.Samples()-w.shown)
}
