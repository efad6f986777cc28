// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/discovery"
)

// This file is Torchbearer's: the mechanisms of discovery are of upstream's
// package, of which only the manager is copied.

//revive:disable:exported They are what is linked.
type (
	Config                     = discovery.Config
	Configs                    = discovery.Configs
	DiscovererMetrics          = discovery.DiscovererMetrics
	NoopDiscovererMetrics      = discovery.NoopDiscovererMetrics
	Discoverer                 = discovery.Discoverer
	DiscovererOptions          = discovery.DiscovererOptions
	Metrics                    = discovery.Metrics
	RefreshMetricsInstantiator = discovery.RefreshMetricsInstantiator
	RefreshMetricsManager      = discovery.RefreshMetricsManager
	SDMetrics                  = discovery.SDMetrics
	StaticConfig               = discovery.StaticConfig
)

func NewManagerMetrics(registerer prometheus.Registerer, name string) (*Metrics, error) {
	return discovery.NewManagerMetrics(registerer, name)
}

func NewRefreshMetrics(registerer prometheus.Registerer) RefreshMetricsManager {
	return discovery.NewRefreshMetrics(registerer)
}

func RegisterSDMetrics(registerer prometheus.Registerer, m RefreshMetricsManager) (map[string]DiscovererMetrics, error) {
	return discovery.RegisterSDMetrics(registerer, m)
}

func RegisteredConfigNames() []string { return discovery.RegisteredConfigNames() }
