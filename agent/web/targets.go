// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/upstream/scrape"
	"torchbearer/config"
)

// The JSON of /api/v1/targets and /api/v1/scrape_pools is Prometheus's, field by field: tools read it.
type (
	activeTarget struct {
		DiscoveredLabels   labels.Labels       `json:"discoveredLabels"`
		Labels             labels.Labels       `json:"labels"`
		ScrapePool         string              `json:"scrapePool"`
		ScrapeURL          string              `json:"scrapeUrl"`
		GlobalURL          string              `json:"globalUrl"`
		LastError          string              `json:"lastError"`
		LastScrape         time.Time           `json:"lastScrape"`
		LastScrapeDuration float64             `json:"lastScrapeDuration"`
		Health             scrape.TargetHealth `json:"health"`
		ScrapeInterval     string              `json:"scrapeInterval"`
		ScrapeTimeout      string              `json:"scrapeTimeout"`
	}
	droppedTarget struct {
		DiscoveredLabels labels.Labels `json:"discoveredLabels"`
		ScrapePool       string        `json:"scrapePool"`
	}
	scrapePoolsDiscovery struct {
		ScrapePools []string `json:"scrapePools"`
	}
)

// targets answers target by target: as one text all of them might take more memory than there is.
func (s *Server) targets(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	pool, state := query.Get("scrapePool"), strings.ToLower(query.Get("state"))
	all := state == "" || state == "any"
	builder := labels.NewBuilder(labels.EmptyLabels())
	w.Header().Set("Content-Type", "application/json")
	out := &stream{to: bufio.NewWriterSize(w, 32<<10)}
	out.text(`{"status":"success","data":{"activeTargets":[`)
	if all || state == "active" {
		eachTarget(s.opts.Targets.TargetsActive(), pool, func(pool string, t *scrape.Target) {
			out.item(func() any { return s.activeTarget(pool, t, builder) })
		})
	}
	out.text(`],"droppedTargets":[`)
	var counts map[string]int
	if all || state == "dropped" {
		counts = s.opts.Targets.TargetsDroppedCounts()
		eachTarget(s.opts.Targets.TargetsDropped(), pool, func(pool string, t *scrape.Target) {
			out.item(func() any {
				return droppedTarget{DiscoveredLabels: withoutSecrets(t.DiscoveredLabels(builder)), ScrapePool: pool}
			})
		})
	}
	out.text(`],"droppedTargetCounts":`)
	out.item(func() any { return counts })
	out.text("}}")
	if out.err != nil || out.to.Flush() != nil {
		panic(http.ErrAbortHandler) // So that the client does not take it for the whole.
	}
}

// stream writes JSON piece by piece, until there is an error.
type stream struct {
	to    *bufio.Writer
	later bool // in the list, than its first item
	err   error
}

func (s *stream) text(text string) {
	s.later = false
	if s.err == nil {
		_, s.err = s.to.WriteString(text)
	}
}

func (s *stream) item(what func() any) {
	if s.err != nil {
		return
	}
	text, err := json.Marshal(what())
	if s.later {
		err = errors.Join(err, s.to.WriteByte(','))
	}
	if s.later, s.err = true, err; err == nil {
		_, s.err = s.to.Write(text)
	}
}

// eachTarget calls f for the targets of the pool named only, or of all pools when that is empty, pools sorted by name.
func eachTarget(targets map[string][]*scrape.Target, only string, f func(pool string, t *scrape.Target)) {
	for _, pool := range slices.Sorted(maps.Keys(targets)) {
		if only != "" && pool != only {
			continue
		}
		for _, t := range targets[pool] {
			f(pool, t)
		}
	}
}

func (s *Server) activeTarget(pool string, t *scrape.Target, builder *labels.Builder) activeTarget {
	var lastError string
	if err := t.LastError(); err != nil {
		lastError = err.Error()
	}
	global, err := s.globalURL(t.URL())
	if err != nil {
		lastError = fmt.Sprintf("%s: %s", lastError, err)
	}
	return activeTarget{
		DiscoveredLabels:   withoutSecrets(t.DiscoveredLabels(builder)),
		Labels:             withoutSecrets(t.Labels(builder)),
		ScrapePool:         pool,
		ScrapeURL:          config.HideSecrets(t.URL().String()),
		GlobalURL:          config.HideSecrets(global.String()),
		LastError:          config.HideSecrets(lastError),
		LastScrape:         t.LastScrape(),
		LastScrapeDuration: t.LastScrapeDuration().Seconds(),
		Health:             t.Health(),
		ScrapeInterval:     t.GetValue(model.ScrapeIntervalLabel),
		ScrapeTimeout:      t.GetValue(model.ScrapeTimeoutLabel),
	}
}

// withoutSecrets hides what discovery and scrape parameters bring: the URL of an
// http_sd_config stands in __meta_url.
func withoutSecrets(ls labels.Labels) labels.Labels {
	var b *labels.Builder // Most have no secret.
	ls.Range(func(l labels.Label) {
		if clean := config.HideSecretLabel(l.Name, l.Value); clean != l.Value {
			if b == nil {
				b = labels.NewBuilder(ls)
			}
			b.Set(l.Name, clean)
		}
	})
	if b == nil {
		return ls
	}
	return b.Labels()
}

// globalURL changes the URL of a target on this machine's loopback into one that works from elsewhere: the agent's own
// external URL when it is the agent itself, else the host of that URL with the target's port. It changes and returns u.
func (s *Server) globalURL(u *url.URL) (*url.URL, error) {
	host, port, err := splitHostPort(u.Host)
	if err != nil {
		return u, err
	}
	if host != "127.0.0.1" && host != "localhost" && host != "::1" {
		return u, nil
	}
	if own := s.ownPort(); own != "" && port == own {
		u.Scheme, u.Host = s.opts.ExternalURL.Scheme, s.opts.ExternalURL.Host
		return u, nil
	}
	host, _, err = splitHostPort(s.opts.ExternalURL.Host)
	if err != nil {
		return u, err
	}
	u.Host = host
	if port != "" {
		u.Host = net.JoinHostPort(host, port)
	}
	return u, nil
}

// ownPort is the port of the first listener, as Prometheus has it, or empty.
func (s *Server) ownPort() string {
	if len(s.opts.Listeners) == 0 {
		return ""
	}
	_, port, err := net.SplitHostPort(s.opts.Listeners[0].Addr().String())
	if err != nil {
		return ""
	}
	return port
}

// splitHostPort is net.SplitHostPort for a host that need not have a port. An IPv6 address is returned without brackets.
func splitHostPort(hostport string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(hostport)
	if err != nil && strings.HasSuffix(err.Error(), "missing port in address") {
		var again error
		if host, _, again = net.SplitHostPort(hostport + ":80"); again == nil {
			err = nil
		}
	}
	return host, port, err
}

func (s *Server) scrapePools(*http.Request) (any, error) {
	names := append([]string{}, s.opts.Pools.ScrapePools()...)
	slices.Sort(names)
	return scrapePoolsDiscovery{ScrapePools: names}, nil
}
