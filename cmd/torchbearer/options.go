// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/util/compression"

	"torchbearer/agent"
	"torchbearer/agent/scraper"
	"torchbearer/agent/targets"
	"torchbearer/agent/upstream/scrape"
	"torchbearer/agent/wal"
	"torchbearer/agent/web"
	"torchbearer/config"
)

func (f *flags) configOptions() config.Options {
	opts := config.Options{
		IgnoreServerSections:      f.ignoreServerSections,
		DefaultProtoFirst:         f.features.has("created-timestamp-zero-ingestion") || f.features.has("st-storage"),
		DefaultExtraScrapeMetrics: f.features.has("extra-scrape-metrics"),
		DefaultLogLevel:           f.logLevel,
		SkipFileReferences:        f.checkSyntaxOnly,
	}
	for name := range strings.SplitSeq(f.requiredLabels, ",") {
		if name = strings.TrimSpace(name); name != "" {
			opts.RequiredLabels = append(opts.RequiredLabels, name)
		}
	}
	return opts
}

func (f *flags) agentOptions(l *logging, registry *prometheus.Registry) agent.Options {
	// Prometheus has them as variables of package scrape.
	scrape.AlignScrapeTimestamps = f.adjustTimestamps
	scrape.ScrapeTimestampTolerance = f.timestampTolerance

	opts := agent.Options{
		Logger:        l.logger,
		Library:       l.slog,
		Registry:      registry,
		ConfigFile:    f.configFile,
		Config:        f.configOptions(),
		FlushDeadline: time.Duration(f.flushDeadline),
		Heartbeat:     time.Duration(f.heartbeat),
		SetLogLevel:   func(name string) { _ = l.setLevel(name) }, // The config was checked.
		WAL: wal.Options{
			Dir:                          f.storagePath,
			Compression:                  compression.None,
			SegmentSize:                  int(f.walSegmentSize),
			TruncateFrequency:            time.Duration(f.truncateFrequency),
			MinTime:                      time.Duration(f.minTime),
			MaxBytes:                     int64(f.maxBytes),
			MaxAge:                       time.Duration(f.maxTime),
			ShipForeign:                  f.shipFormerWAL,
			NoLockfile:                   f.noLockfile,
			StartTimestamps:              f.features.has("st-storage"),
			StartTimestampZeroSamples:    f.features.has("created-timestamp-zero-ingestion"),
			CheckpointFromInMemorySeries: f.checkpointInMemory,
			CheckpointBatchSize:          f.checkpointBatch,
		},
		Scraper: scraper.Options{
			BodySizeLimit:             f.bodySizeLimit,
			LabelLimit:                f.labelLimit,
			DiscoveryReloadInterval:   time.Duration(f.discoveryInterval),
			ParseStartTimestamps:      f.features.has("st-storage") || f.features.has("created-timestamp-zero-ingestion"),
			SynthesizeStartTimestamps: f.features.has("st-synthesis"),
			TypeAndUnitLabels:         f.features.has("type-and-unit-labels"),
			OpenMetrics2:              f.features.has("openmetrics2"),
			ZstdScrape:                f.features.has("zstd-scrape"),
		},
	}
	opts.Targets = targets.Options{
		Part: targets.Part(f.scope),
		Place: targets.Place{
			Kubeconfig: f.kubeconfig,
			Node:       os.Getenv("NODE_NAME"),
			Pod:        os.Getenv("POD_NAME"),
			Namespace:  os.Getenv("POD_NAMESPACE"),
			PodUID:     os.Getenv("POD_UID"),
		},
		LeaseName:      f.leaseName,
		LeaseNamespace: f.leaseNamespace,
		LeaseDuration:  time.Duration(f.leaseDuration),
	}
	if f.walCompression {
		opts.WAL.Compression = f.walCompressionType
	}
	if f.autoReload || f.features.has("auto-reload-config") {
		opts.ReloadInterval = time.Duration(f.autoReloadInterval)
	}
	return opts
}

func (f *flags) webOptions(l *logging, registry *prometheus.Registry, a *agent.Agent, listeners []net.Listener) web.Options {
	external, prefix, _ := f.urls() // Parsed before, by validate.
	return web.Options{
		Logger:           log.With(l.logger, "component", "web"),
		Library:          l.slog.With("component", "web"),
		Listeners:        listeners,
		Registry:         registry,
		Agent:            a,
		Targets:          a.Scrapes(),
		Pools:            a.Scrapes(),
		Scopes:           a.Scopes,
		Destinations:     a.Destinations,
		Explain:          a,
		DryRun:           a.DryRun,
		LogTail:          l.tail.Lines,
		Cluster:          a.Cluster,
		SupportFiles:     f.supportFiles(),
		Series:           a.Series,
		About:            a.About,
		ConfigOnDisk:     a.ConfigOnDisk,
		Relabelled:       a.Relabelled,
		Samples:          a.Samples,
		Flags:            f.values,
		ExternalURL:      external,
		RoutePrefix:      prefix,
		ConfigFile:       f.webConfigFile,
		ReadTimeout:      time.Duration(f.readTimeout),
		MaxConnections:   f.maxConnections,
		EnableLifecycle:  f.enableLifecycle,
		EnablePprof:      f.enablePprof,
		StorageRetention: f.maxTime.String(),
		Started:          f.started,
	}
}

// urls returns the URL the agent is reachable under and the prefix of its
// routes, each from the other where not given.
func (f *flags) urls() (external *url.URL, prefix string, err error) {
	raw := f.externalURL
	if strings.HasPrefix(raw, `"`) || strings.HasPrefix(raw, "'") {
		return nil, "", fmt.Errorf("--web.external-url must not begin with a quote: %s", raw)
	}
	if raw == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, "", fmt.Errorf("find the host name for --web.external-url: %w", err)
		}
		_, port, err := net.SplitHostPort(f.listenAddresses[0])
		if err != nil {
			return nil, "", fmt.Errorf("--web.listen-address %s: %w; use HOST:PORT", f.listenAddresses[0], err)
		}
		scheme := "http"
		if f.webConfigFile != "" {
			scheme = "https"
		}
		raw = scheme + "://" + net.JoinHostPort(host, port) + "/"
	}
	external, err = url.Parse(raw)
	if err != nil {
		return nil, "", fmt.Errorf("--web.external-url: %w", err)
	}
	external.Path = "/" + strings.Trim(external.Path, "/")
	prefix = "/" + strings.Trim(cmp.Or(f.routePrefix, external.Path), "/")
	return external, prefix, nil
}
