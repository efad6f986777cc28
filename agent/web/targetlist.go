// SPDX-License-Identifier: Apache-2.0

package web

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/status"
	"torchbearer/agent/upstream/scrape"
	"torchbearer/config"
)

const (
	targetsAPage = 100
	labelsMost   = 40  // of one target
	choicesMost  = 500 // jobs in a form
)

// targetsData is what the page of targets shows.
type targetsData struct {
	Job, Health, Text string // the filter
	Names             []string
	Pager             pager
	List              []targetView
	Elsewhere         []job // what other agents scrape
	MoreElsewhere     int
}

type (
	targetView struct {
		Job, URL, Health, Level string
		Error                   string
		Labels                  []labelView
		MoreLabels              int
		Last                    moment
		Took, Interval          string
		Counts                  *status.Samples
		Explain                 string // what to ask to have it explained
	}
	labelView struct{ Name, Value string }
)

// found is a target that a filter lets through.
type found struct {
	job    string
	target *scrape.Target
	rank   int
}

func (s *Server) targetsPage(l *look, r *http.Request) (any, error) {
	query := r.URL.Query()
	data := targetsData{
		Job: parameter(query, "job"), Health: oneOf(query, "health", "up", "down", "unknown"), Text: parameter(query, "q"),
	}
	list := l.filter(data.Job, data.Health, data.Text)
	data.Pager = newPager(query, len(list), targetsAPage)
	b := labels.NewBuilder(labels.EmptyLabels())
	for _, f := range list[data.Pager.First:data.Pager.End] {
		data.List = append(data.List, s.target(l, f, b))
	}
	for _, j := range l.Jobs {
		if len(data.Names) < choicesMost {
			data.Names = append(data.Names, j.Name)
		}
		if !j.Scraped {
			data.Elsewhere = append(data.Elsewhere, j)
		}
	}
	data.MoreElsewhere = max(len(data.Elsewhere)-overviewMost, 0)
	data.Elsewhere = data.Elsewhere[:len(data.Elsewhere)-data.MoreElsewhere]
	return data, nil
}

// filter lists the targets, the ones in trouble first, then in the order of their jobs.
func (l *look) filter(job, health, text string) []found {
	rank := map[scrape.TargetHealth]int{scrape.HealthBad: 0, scrape.HealthUnknown: 1, scrape.HealthGood: 2}
	var list []found
	for _, j := range l.Jobs {
		if job != "" && key(j.Name) != job {
			continue
		}
		for _, t := range l.active[j.Name] {
			h := t.Health()
			if health != "" && string(h) != health || !hasText(j.Name, t, text) {
				continue
			}
			list = append(list, found{j.Name, t, rank[h]})
		}
	}
	slices.SortStableFunc(list, func(a, b found) int { return cmp.Compare(a.rank, b.rank) })
	return list
}

// hasText says whether a target has the text in its job, its address, a label, or its last error.
func hasText(job string, t *scrape.Target, text string) bool {
	if text == "" {
		return true
	}
	text = strings.ToLower(text)
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	if has(job) || has(config.HideSecrets(t.GetValue("__address__"))) || has(t.GetValue("__metrics_path__")) {
		return true
	}
	is := false
	t.LabelsRange(func(l labels.Label) {
		value := config.HideSecretLabel(l.Name, l.Value) // Nor can it be guessed letter by letter.
		is = is || has(value) || has(l.Name+"="+value)
	})
	if err := t.LastError(); err != nil && !is {
		is = has(config.HideSecrets(err.Error()))
	}
	return is
}

func (s *Server) target(l *look, f found, b *labels.Builder) targetView {
	t := f.target
	v := targetView{
		Job: brief(f.job), URL: clip(t.URL().String(), 4*shortText),
		Last: l.at(t.LastScrape()), Took: span(t.LastScrapeDuration().Round(time.Millisecond)), Interval: brief(t.GetValue("__scrape_interval__")),
		// As it was found: relabelling gives all targets of a prober one address.
		Explain: clip(cmp.Or(t.DiscoveredLabels(b).Get("__address__"), t.GetValue("__address__")), longestQuery),
	}
	v.Labels, v.MoreLabels = labelViews(t.Labels(b))
	if err := t.LastError(); err != nil {
		v.Error = trouble(err.Error())
	}
	v.Health, v.Level = healthWords(t.Health())
	if s.opts.Samples != nil {
		if n, ok := s.opts.Samples(t); ok {
			v.Counts = &n
		}
	}
	return v
}

// labelViews are at most labelsMost labels, without secrets, and how many more there are.
func labelViews(ls labels.Labels) (list []labelView, more int) {
	ls.Range(func(l labels.Label) {
		if len(list) == labelsMost {
			more++
			return
		}
		list = append(list, labelView{brief(l.Name), brief(config.HideSecretLabel(l.Name, l.Value))})
	})
	return list, more
}
