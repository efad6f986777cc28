// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"torchbearer/agent/status"
)

func TestAbout(t *testing.T) {
	tg, rc := newTarget(t, ""), newReceiver(t)
	text := strings.Replace(configText(rc.URL, v2, job("app", tg.Address(), "")), "environment: prod", "environment: prod, alpha: first", 1)
	a := start(t, t.TempDir(), text, nil)
	until(t, "it is ready", func() bool { return a.About().NotReady == "" })
	got := a.About()
	var mandatory []bool
	for _, l := range got.Labels {
		mandatory = append(mandatory, l.Mandatory)
	}
	if diff := cmp.Diff([]bool{true, true, false}, mandatory); diff != "" || got.Labels[2] != (status.Label{Name: "alpha", Value: "first"}) {
		t.Errorf("labels %+v", got.Labels)
	}
	hash, _, _ := a.configState()
	if got.ConfigFile != a.file || got.ConfigHash != hash || hash == "" || time.Since(got.Started) > 10*time.Minute || got.Notice != "" {
		t.Errorf("%+v", got)
	}
	host, _ := os.Hostname()
	if got.Host != host {
		t.Errorf("host %q, want %q", got.Host, host)
	}
	until(t, "the last scrape is known", func() bool {
		for _, list := range a.Scrapes().TargetsActive() {
			for _, target := range list {
				if n, ok := a.Samples(target); ok && n.Scraped > 0 && n.Scraped == n.Kept {
					return true
				}
			}
		}
		return false
	})
}

func TestConfigOnDisk(t *testing.T) {
	tg, rc := newTarget(t, ""), newReceiver(t)
	one := configText(rc.URL, v2, job("app", tg.Address(), ""))
	a := start(t, t.TempDir(), one, nil)
	until(t, "it is ready", func() bool { return a.Ready() == nil })
	shows := func(what string, right func(text string, same bool) bool) {
		t.Helper()
		var text string
		until(t, what, func() bool {
			var same bool
			text, same = a.ConfigOnDisk()
			return right(text, same)
		})
		if strings.Contains(text, "hunter2") {
			t.Errorf("%s: a secret is shown: %s", what, text)
		}
	}
	shows("the files are those that run", func(text string, same bool) bool { return same && text == a.Config() })

	other := strings.Replace(one, "job_name: app", "basic_auth: {username: me, password: hunter2}\n    job_name: renamed", 1)
	write(t, a.file, other)
	shows("the files are others", func(text string, same bool) bool {
		return !same && strings.Contains(text, "job_name: renamed") && strings.Contains(text, "<secret>")
	})

	write(t, a.file, strings.Replace(one, "url:", "headers: {X-Token: hunter2}\n    url:", 1))
	if err := a.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	shows("the files are those that run since a reload", func(_ string, same bool) bool { return same })
	write(t, a.file, strings.Replace(one, "url:", "headers: {X-Token: hunter22}\n    url:", 1))
	shows("a secret is another", func(text string, same bool) bool { return !same && text == a.Config() })

	write(t, a.file, other+"nonsense: hunter2\n")
	shows("the files are refused", func(text string, same bool) bool {
		return !same && strings.HasPrefix(text, "# The config on disk is refused:\n# ") && strings.Contains(text, "nonsense") && !strings.Contains(text, "renamed")
	})
	write(t, a.file, "password: hunter2: [")
	shows("the files are no YAML", func(text string, same bool) bool { return !same && strings.HasPrefix(text, "# ") })
	if err := os.Remove(a.file); err != nil {
		t.Fatal(err)
	}
	shows("there is no file", func(text string, same bool) bool { return !same && strings.Contains(text, "does not exist") })
	write(t, a.file, strings.Replace(one, "url:", "headers: {X-Token: hunter2}\n    url:", 1))
	shows("the files are those that run again", func(_ string, same bool) bool { return same })
}
