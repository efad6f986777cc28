// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net"
	"os"
	"regexp"
	"runtime"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/prometheus/discovery"
)

// newRegistry returns a registry with the metrics of the process.
func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(
			collectors.MetricsGC,
			collectors.MetricsScheduler,
			collectors.GoRuntimeMetricsRule{Matcher: regexp.MustCompile(`^/sync/mutex/wait/total:seconds$`)},
		)),
		versioncollector.NewCollector("torchbearer"),
		// Dashboards for Prometheus's agent ask for this name.
		versioncollector.NewCollector("prometheus"),
	)
	// Metrics of client-go are global to the process.
	if err := discovery.RegisterK8sClientMetricsWithPrometheus(registry); err != nil {
		panic(err) // Only a metric registered twice, a mistake in this function.
	}
	return registry
}

// setRuntime bounds the memory and the threads of the process as its container
// is bounded.
func setRuntime(f *flags, l *logging) {
	if !f.autoGomaxprocs && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.NumCPU()) // Go itself heeds the quota by default.
	}
	if !f.autoGomemlimit {
		return
	}
	if _, err := memlimit.Set(
		memlimit.WithRatio(f.gomemlimitRatio),
		memlimit.WithProvider(memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)),
		memlimit.WithLogger(l.slog.With("component", "automemlimit")),
	); err != nil {
		level.Warn(l.logger).Log("msg", "GOMEMLIMIT is not set; the process may take more memory than its container has", "err", err)
	}
}

func closeAll(listeners []net.Listener) error {
	var err error
	for _, l := range listeners {
		err = errors.Join(err, l.Close())
	}
	return err
}
