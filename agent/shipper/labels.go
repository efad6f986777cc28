// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"regexp"
	"strings"

	promcfg "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"

	"torchbearer/config"
)

// keptPrefix begins the labels in which a series of a trusted job keeps its own
// mandatory labels while the user's rules run.
const keptPrefix = "__torchbearer_kept_"

// withMandatoryLabels returns a copy of the Prometheus config in which each
// destination's rules end with ones that set the mandatory labels. They reach
// series that write_relabel_configs changed; series as scraped were seen to by
// the scraper already.
func withMandatoryLabels(cfg *config.Config) *promconfig.Config {
	before, after := mandatoryRules(cfg.MandatoryLabels(), len(cfg.Agent.TrustedLabelJobs) > 0)
	effective := *cfg.Prometheus
	effective.RemoteWriteConfigs = make([]*promconfig.RemoteWriteConfig, 0, len(cfg.Prometheus.RemoteWriteConfigs))
	for _, rw := range cfg.Prometheus.RemoteWriteConfigs {
		rw := withoutUserinfo(rw)
		rules := make([]*relabel.Config, 0, len(before)+len(rw.WriteRelabelConfigs)+len(after))
		rw.WriteRelabelConfigs = append(append(append(rules, before...), rw.WriteRelabelConfigs...), after...)
		effective.RemoteWriteConfigs = append(effective.RemoteWriteConfigs, rw)
	}
	return &effective
}

// mandatoryRules are the rules to run before and after the user's. Without
// trusted jobs every series gets the agent's values. With them a series that
// came with values of its own, which only a trusted one can, keeps those.
func mandatoryRules(mandatory []labels.Label, trusted bool) (before, after []*relabel.Config) {
	for _, l := range mandatory {
		if !trusted {
			after = append(after, replace("", ".*", l.Name, literal(l.Value)))
			continue
		}
		kept := keptPrefix + l.Name
		before = append(before, replace(l.Name, "(.*)", kept, "$1"))
		after = append(after,
			// A labelkeep or labeldrop of the user's may have taken it.
			replace(kept, "", kept, literal(l.Value)),
			replace(kept, "(.*)", l.Name, "$1"),
			&relabel.Config{
				Action: relabel.LabelDrop, Regex: relabel.MustNewRegexp(regexp.QuoteMeta(kept)),
				Separator:   relabel.DefaultRelabelConfig.Separator,
				Replacement: relabel.DefaultRelabelConfig.Replacement,
			},
		)
	}
	return before, after
}

// literal protects a value from being read as a replacement pattern.
func literal(value string) string { return strings.ReplaceAll(value, "$", "$$") }

func replace(source, regex, target, replacement string) *relabel.Config {
	rule := &relabel.Config{
		Action:               relabel.Replace,
		Separator:            relabel.DefaultRelabelConfig.Separator,
		Regex:                relabel.MustNewRegexp(regex),
		TargetLabel:          target,
		Replacement:          replacement,
		NameValidationScheme: model.UTF8Validation,
	}
	if source != "" {
		rule.SourceLabels = model.LabelNames{model.LabelName(source)}
	}
	return rule
}

// withoutUserinfo returns a copy of rw in which a user and password of the URL
// have become basic_auth, where they go before any other Authorization as they
// do in an URL: storage/remote logs the URL as it stands and puts it into
// errors.
func withoutUserinfo(rw *promconfig.RemoteWriteConfig) *promconfig.RemoteWriteConfig {
	c := *rw
	if c.URL == nil || c.URL.User == nil {
		return &c
	}
	user := c.URL.User
	plain := *c.URL.URL
	plain.User = nil
	c.URL = &promcfg.URL{URL: &plain}
	password, _ := user.Password()
	c.HTTPClientConfig.BasicAuth = &promcfg.BasicAuth{
		Username: user.Username(), Password: promcfg.Secret(password),
	}
	c.HTTPClientConfig.Authorization = nil
	return &c
}
