// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strings"
	"testing"
	"time"
)

// A label that a reload makes mandatory, or a job that it no longer trusts: the
// series that were scraped under the old rules must not go on as they were.
func TestAReloadThatTightensTheRulesReachesSeriesThatAreScrapedAlready(t *testing.T) {
	for name, before := range map[string]string{
		"a label becomes mandatory": "agent: {required_labels: [clustername], trusted_label_jobs: [other]}\n",
		"a job loses its trust":     "agent: {trusted_label_jobs: [other, app]}\n",
	} {
		t.Run(name, func(t *testing.T) {
			tg, rc := newTarget(t, "app{environment=\"dev\"} 1\n"), newReceiver(t)
			text := configText(rc.URL, v2, job("app", tg.Address(), ""), job("other", tg.Address(), ""))
			a := start(t, t.TempDir(), text+before, nil)
			until(t, "the target's own label leaves", func() bool {
				return strings.Contains(strings.Join(texts(rc), "\n"), `__name__="app", clustername="aks-1", environment="dev", instance="`+tg.Address()+`", job="app"`)
			})
			write(t, a.file, text+"agent: {trusted_label_jobs: [other]}\n")
			if err := a.Reload(t.Context()); err != nil {
				t.Fatal(err)
			}
			// Every scrape that begins now is under the new rules.
			border := time.Now().UnixMilli()
			until(t, "the agent's label leaves, the target's is kept", func() bool {
				return strings.Contains(strings.Join(texts(rc), "\n"), `__name__="app", clustername="aks-1", environment="prod", exported_environment="dev", instance="`+tg.Address()+`", job="app"`)
			})
			if err := a.stop(); err != nil {
				t.Fatal(err)
			}
			rc.mu.Lock()
			defer rc.mu.Unlock()
			for _, s := range rc.samples {
				ls := rc.labels[s.series]
				if s.timestamp > border && ls.Get("job") == "app" && ls.Get("environment") != "prod" {
					t.Fatalf("%s left with a sample of %d ms after the reload", s.series, s.timestamp-border)
				}
			}
		})
	}
}
