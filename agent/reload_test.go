// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"torchbearer/config"
)

// gauges are those of the last reload, by name.
func gauges(t *testing.T, a *running) map[string]float64 {
	t.Helper()
	families, err := a.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		switch f.GetName() {
		case "torchbearer_config_last_reload_successful", "prometheus_config_last_reload_successful", "torchbearer_config_last_good_in_use":
			got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return got
}

func wantGauges(successful, lastGood float64) map[string]float64 {
	return map[string]float64{
		"torchbearer_config_last_reload_successful": successful,
		"prometheus_config_last_reload_successful":  successful,
		"torchbearer_config_last_good_in_use":       lastGood,
	}
}

func TestReloadGoodBadGood(t *testing.T) {
	first, second, rc := newTarget(t, ""), newTarget(t, ""), newReceiver(t)
	one := configText(rc.URL, v2, job("first", first.Address(), ""))
	two := configText(rc.URL, v2, job("first", first.Address(), ""), job("second", second.Address(), ""))
	a := start(t, t.TempDir(), one, nil)
	until(t, "the first target is scraped", func() bool { return first.served.Load() > 0 && a.Ready() == nil })
	running := a.Config()

	write(t, a.file, strings.ReplaceAll(two, "environment: prod", "environment: ''")+"nonsense: true\n")
	err := a.Reload(t.Context())
	var bad *BadConfigError
	var violations config.Violations
	if !errors.As(err, &bad) || !errors.As(err, &violations) || len(violations) != 2 {
		t.Fatalf("Reload of a config with two mistakes returned %v", err)
	}
	if diff := cmp.Diff(running, a.Config()); diff != "" {
		t.Errorf("the running config changed:\n%s", diff)
	}
	if diff := cmp.Diff(wantGauges(0, 0), gauges(t, a)); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(a.Notice(), "refused") || a.Ready() != nil {
		t.Errorf("after a refused reload: notice %q, ready %v", a.Notice(), a.Ready())
	}

	write(t, a.file, two)
	if err := a.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantGauges(1, 0), gauges(t, a)); diff != "" {
		t.Error(diff)
	}
	if a.Notice() != "" {
		t.Errorf("notice is still %q", a.Notice())
	}
	until(t, "the second target is scraped", func() bool { return second.served.Load() > 0 })
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	checkScrapes(t, rc, "first") // The unchanged job lost none.
}

func TestReloadSetsBackWhenAStageRefuses(t *testing.T) {
	tg, rc := newTarget(t, ""), newReceiver(t)
	a := start(t, t.TempDir(), configText(rc.URL, v2, job("app", tg.Address(), "")), nil)
	until(t, "the target is scraped", func() bool { return tg.served.Load() > 0 })
	proper := a.stages
	hash := a.running.Hash()

	for refusing := range proper {
		var applied []string
		refuse := true
		stages := make([]stage, len(proper))
		for i, s := range proper {
			stages[i] = stage{s.name, s.check, func(cfg *config.Config) error {
				applied = append(applied, s.name+" "+cfg.Prometheus.ScrapeConfigs[0].JobName)
				if i == refusing && refuse {
					refuse = false
					return errors.New("injected")
				}
				return s.apply(cfg)
			}}
		}
		a.stages = stages
		write(t, a.file, configText(rc.URL, v2, job("other", tg.Address(), "")))
		err := a.Reload(t.Context())
		var bad *BadConfigError
		if err == nil || errors.As(err, &bad) || !strings.Contains(err.Error(), "apply config to "+proper[refusing].name+": injected") {
			t.Fatalf("Reload returned %v", err)
		}
		var want []string
		for i := range refusing + 1 {
			want = append(want, proper[i].name+" other")
		}
		for i := refusing; i >= 0; i-- {
			want = append(want, proper[i].name+" app")
		}
		if diff := cmp.Diff(want, applied); diff != "" {
			t.Errorf("applied (-want +got):\n%s", diff)
		}
		if a.running.Hash() != hash {
			t.Error("the refused config counts as running")
		}
		before := tg.served.Load()
		until(t, "the target is scraped on", func() bool { return tg.served.Load() > before+2 })
	}
	a.stages = proper
}

// What cannot be applied is not tried again until the files change: each try may
// disturb what runs.
func TestWatchTriesOnceWhatCannotBeApplied(t *testing.T) {
	tg, rc := newTarget(t, ""), newReceiver(t)
	tries := make(chan string, 1000)
	a := start(t, t.TempDir(), configText(rc.URL, v2, job("app", tg.Address(), "")), func(o *Options) {
		o.ReloadInterval = 10 * time.Millisecond
		o.SetLogLevel = func(level string) { tries <- level }
	})
	until(t, "ready", func() bool { return a.Ready() == nil })
	// It passes all checks but that of the stage, like a log on a read-only disk.
	file := filepath.Join(a.dir, "none", "failures.log")
	write(t, a.file, configText(rc.URL, v2, job("app", tg.Address(), "    scrape_failure_log_file: "+file+"\n")))
	until(t, "the reload is refused", func() bool { return strings.Contains(a.Notice(), "scrape_failure_log_file") })
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	scraped := tg.served.Load()
	until(t, "some intervals pass", func() bool { return tg.served.Load() > scraped+5 })
	if len(tries) != 1 || a.Notice() == "" {
		t.Errorf("applied %d times, notice %q: it was tried again", len(tries), a.Notice())
	}
	write(t, a.file, configText(rc.URL, v2, job("app", tg.Address(), "    scrape_failure_log_file: "+file+" # again\n")))
	until(t, "the changed file is taken", func() bool { return a.Notice() == "" })
}

func TestReloadWithAnUnusableDestinationChangesNothing(t *testing.T) {
	tg, rc := newTarget(t, ""), newReceiver(t)
	dir := t.TempDir()
	text := configText(rc.URL, v2, job("app", tg.Address(), ""))
	a := start(t, dir, text, nil)
	until(t, "a sample arrives", func() bool { return len(rc.Values("scrapes_served", "app")) > 0 })

	write(t, filepath.Join(dir, "ca.pem"), "not a certificate")
	write(t, a.file, strings.Replace(text, "remote_write:\n",
		"remote_write:\n  - url: https://127.0.0.1:1/write\n    tls_config: {ca_file: ca.pem}\n", 1))
	err := a.Reload(t.Context())
	var bad *BadConfigError
	if !errors.As(err, &bad) || !strings.Contains(err.Error(), "torchbearer.yaml:4: remote_write[0]") {
		t.Fatalf("Reload returned %v, want a bad config that names the destination", err)
	}
	count := len(rc.Values("scrapes_served", "app"))
	until(t, "samples go on to arrive", func() bool { return len(rc.Values("scrapes_served", "app")) > count+2 })
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	checkScrapes(t, rc, "app")
}

func TestTwentyReloadsAtOnce(t *testing.T) {
	tg, rc := newTarget(t, ""), newReceiver(t)
	a := start(t, t.TempDir(), configText(rc.URL, v2, job("app", tg.Address(), "")), nil)
	var wg sync.WaitGroup
	errs := make(chan error, 20)
	for range 20 {
		wg.Go(func() { errs <- a.Reload(t.Context()) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestReloadIsRefusedWhenStoppingOrImpatient(t *testing.T) {
	tg, rc := newTarget(t, ""), newReceiver(t)
	a := start(t, t.TempDir(), configText(rc.URL, v2, job("app", tg.Address(), "")), nil)
	until(t, "ready", func() bool { return a.Ready() == nil })
	a.reloading <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Reload(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a reload that cannot wait returned %v", err)
	}
	<-a.reloading
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	if err := a.Reload(t.Context()); !errors.Is(err, errStopping) {
		t.Errorf("a reload after the stop returned %v", err)
	}
}

// A ConfigMap is mounted as a symlink to a symlinked folder that is swapped.
func TestWatchSeesASwappedConfigMap(t *testing.T) {
	first, second, rc := newTarget(t, ""), newTarget(t, ""), newReceiver(t)
	dir := t.TempDir()
	mount := filepath.Join(dir, "mount")
	publish := func(version, text string) {
		t.Helper()
		folder := filepath.Join(mount, version)
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, "torchbearer.yaml"), text)
		if err := os.Symlink(version, filepath.Join(mount, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(mount, "..data_tmp"), filepath.Join(mount, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	publish("..1", configText(rc.URL, v2, job("app", first.Address(), "")))
	link := filepath.Join(mount, "torchbearer.yaml")
	if err := os.Symlink(filepath.Join("..data", "torchbearer.yaml"), link); err != nil {
		t.Fatal(err)
	}
	a := start(t, dir, "", func(o *Options) {
		o.ConfigFile = link
		o.ReloadInterval = 20 * time.Millisecond
	})
	until(t, "the first target is scraped", func() bool { return first.served.Load() > 0 })

	publish("..2", "global: [")
	until(t, "the bad config is refused", func() bool { return gauges(t, a)["torchbearer_config_last_reload_successful"] == 0 })
	publish("..3", configText(rc.URL, v2, job("app", second.Address(), "")))
	until(t, "the second target is scraped", func() bool { return second.served.Load() > 0 })
	until(t, "the gauge is back", func() bool { return gauges(t, a)["torchbearer_config_last_reload_successful"] == 1 })
}

func TestWatchSeesScrapeConfigFiles(t *testing.T) {
	tg, rc := newTarget(t, ""), newReceiver(t)
	dir := t.TempDir()
	a := start(t, dir, configText(rc.URL, v2)+"scrape_config_files: ['jobs/*.yaml']\n",
		func(o *Options) { o.ReloadInterval = 20 * time.Millisecond })
	until(t, "ready", func() bool { return a.Ready() == nil })
	if err := os.Mkdir(filepath.Join(dir, "jobs"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "jobs", "app.yaml"), "scrape_configs:\n"+job("app", tg.Address(), ""))
	until(t, "the new job is scraped", func() bool { return tg.served.Load() > 0 })
}

func TestConfigInfoHasOneHash(t *testing.T) {
	tg, rc := newTarget(t, ""), newReceiver(t)
	text := configText(rc.URL, v2, job("app", tg.Address(), ""))
	a := start(t, t.TempDir(), text, nil)
	until(t, "ready", func() bool { return a.Ready() == nil })
	write(t, a.file, text+"# changed\n")
	if err := a.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := testutil.CollectAndCount(a.metrics.info); got != 1 {
		t.Errorf("%d hashes in torchbearer_config_info, want 1", got)
	}
}
