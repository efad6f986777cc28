// SPDX-License-Identifier: Apache-2.0

package web

import (
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
	"github.com/prometheus/prometheus/scrape"

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
	targetDiscovery struct {
		ActiveTargets       []activeTarget  `json:"activeTargets"`
		DroppedTargets      []droppedTarget `json:"droppedTargets"`
		DroppedTargetCounts map[string]int  `json:"droppedTargetCounts"`
	}
	scrapePoolsDiscovery struct {
		ScrapePools []string `json:"scrapePools"`
	}
)

func (s *Server) targets(r *http.Request) (any, error) {
	query := r.URL.Query()
	pool, state := query.Get("scrapePool"), strings.ToLower(query.Get("state"))
	all := state == "" || state == "any"
	found := targetDiscovery{ActiveTargets: []activeTarget{}, DroppedTargets: []droppedTarget{}}
	builder := labels.NewBuilder(labels.EmptyLabels())
	if all || state == "active" {
		eachTarget(s.opts.Targets.TargetsActive(), pool, func(pool string, t *scrape.Target) {
			found.ActiveTargets = append(found.ActiveTargets, s.activeTarget(pool, t, builder))
		})
	}
	if all || state == "dropped" {
		found.DroppedTargetCounts = s.opts.Targets.TargetsDroppedCounts()
		eachTarget(s.opts.Targets.TargetsDropped(), pool, func(pool string, t *scrape.Target) {
			found.DroppedTargets = append(found.DroppedTargets,
				droppedTarget{DiscoveredLabels: withoutSecrets(t.DiscoveredLabels(builder)), ScrapePool: pool})
		})
	}
	return found, nil
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
		Labels:             t.Labels(builder),
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
	b := labels.NewBuilder(ls)
	ls.Range(func(l labels.Label) { b.Set(l.Name, config.HideSecretLabel(l.Name, l.Value)) })
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
