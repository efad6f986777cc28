// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"torchbearer/e2e/load"
	"torchbearer/e2e/receiver"
)

func TestPick(t *testing.T) {
	f := func(only, want string) {
		t.Helper()
		picked, err := pick(scenarios(), only)
		if got := names(picked); err != nil || got != want {
			t.Errorf("%q picks %s, %v, want %s", only, got, err, want)
		}
	}
	f("", "node,big,exporters,churn,outage,slow,start")
	f("slow,node", "node,slow")
	if _, err := pick(scenarios(), "node,bog"); err == nil || !strings.Contains(err.Error(), `no load "bog"`) {
		t.Errorf("a load that is not there: %v", err)
	}
}

// TestChurn: a tenth of the series is new in a minute, whatever the interval and the number of series.
func TestChurn(t *testing.T) {
	f := func(c changes, want load.Options) {
		t.Helper()
		churn, err := pick(scenarios(), "churn")
		if err != nil {
			t.Fatal(err)
		}
		got := churn[0].changed(c)
		if diff := cmp.Diff(want, got.load); diff != "" {
			t.Errorf("the load differs (-want +got):\n%s", diff)
		}
		scrapes := int(time.Minute / got.interval)
		for j := range got.load.Churn {
			if born := got.load.Churning(j, 100+scrapes) - got.load.Churning(j, 100); born != 1 {
				t.Errorf("%d series %d are born in a minute", born, j)
			}
		}
	}
	f(changes{}, load.Options{Targets: 60, Series: 450, Churn: 50, Life: 12, Spread: true})
	f(changes{targets: 2, series: 20, interval: time.Second, labels: `a="b"`}, load.Options{Targets: 2, Series: 18, Churn: 2, Life: 60, Labels: `a="b"`, Spread: true})
}

func TestStretch(t *testing.T) {
	f := func(interval, wanted, want time.Duration) {
		t.Helper()
		if got := (scenario{interval: interval}).stretch(wanted); got != want {
			t.Errorf("%s of %s are %s, want %s", wanted, interval, got, want)
		}
	}
	f(5*time.Second, time.Minute, time.Minute)
	f(15*time.Second, 20*time.Second, 30*time.Second)
	f(15*time.Second, time.Second, 15*time.Second)
}

func TestChoose(t *testing.T) {
	s := setting{rounds: 1, length: time.Second}
	if err := s.choose("node,start", changes{interval: time.Minute, targets: 3, series: 4}); err != nil {
		t.Fatal(err)
	}
	var sizes []string
	for _, one := range s.scenarios {
		sizes = append(sizes, one.describe())
	}
	// What finds the start out is not to be changed.
	if diff := cmp.Diff([]string{"3 targets × 4 series, every 1 min", "400 targets × 1 series, every 1 s"}, sizes); diff != "" {
		t.Errorf("loads differ (-want +got):\n%s", diff)
	}
	for _, bad := range []setting{{rounds: 0, length: time.Minute}, {rounds: 1}, {rounds: 1, length: time.Minute, oldAt: "nowhere"}} {
		if err := bad.choose("", changes{}); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// TestArguments: all agents get the same work.
func TestArguments(t *testing.T) {
	w := work{interval: 500 * time.Millisecond, targets: []string{"a:1", "b:2"}, destinations: []string{"http://x/w", "http://y/w"}, dir: t.TempDir(), address: "c:3"}
	read := func(a agent) (flags, config string) {
		t.Helper()
		arguments, err := a.arguments(w)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(w.dir, "config.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(strings.Join(arguments, " "), w.dir, "DIR"), string(text)
	}
	flags, config := read(agent{})
	if want := "-promscrape.config=DIR/config.yaml -remoteWrite.tmpDataPath=DIR/data -httpListenAddr=c:3 -remoteWrite.url=http://x/w -remoteWrite.url=http://y/w"; flags != want {
		t.Errorf("flags of vmagent are %s", flags)
	}
	scrape := "global:\n  scrape_interval: 500ms\n  external_labels: {clustername: bench, environment: local}\n" +
		"scrape_configs:\n- job_name: load\n  static_configs:\n  - targets: [a:1, b:2]\n"
	if diff := cmp.Diff(scrape, config); diff != "" {
		t.Errorf("vmagent's config differs (-want +got):\n%s", diff)
	}
	flags, config = read(agent{message: receiver.ProtocolV2})
	if want := "--agent --config.file=DIR/config.yaml --storage.agent.path=DIR/data --web.listen-address=c:3"; flags != want {
		t.Errorf("flags of an agent are %s", flags)
	}
	if diff := cmp.Diff(scrape+"remote_write:\n- url: http://x/w\n  protobuf_message: io.prometheus.write.v2.Request\n"+
		"- url: http://y/w\n  protobuf_message: io.prometheus.write.v2.Request\n", config); diff != "" {
		t.Errorf("the agent's config differs (-want +got):\n%s", diff)
	}
}
