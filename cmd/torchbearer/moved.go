// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"k8s.io/apimachinery/pkg/util/validation"

	"torchbearer/agent/targets"
	"torchbearer/agent/web"
)

// movedFlags accepts what stands on the command line of a Prometheus agent
// though it means nothing here, so that such a Deployment changes its image
// only.
func (f *flags) movedFlags(app *kingpin.Application) {
	f.ignored = make(map[string]*string)
	for _, name := range []string{
		"web.console.templates", "web.console.libraries", "web.page-title", "web.cors.origin", "web.user-assets",
		"web.max-notifications-subscribers", "web.remote-write-receiver.accepted-protobuf-messages",
		"auto-gomemlimit.refresh-interval",
	} {
		f.ignored[name] = app.Flag(name, "Ignored.").Hidden().String()
	}
	for _, name := range []string{"web.enable-remote-write-receiver", "web.enable-otlp-receiver"} {
		app.Flag(name, "Refused: torchbearer receives nothing.").Hidden().
			Action(func(*kingpin.ParseContext) error {
				return fmt.Errorf("--%s: torchbearer scrapes and ships, it receives nothing; send to the central Prometheus instead", name)
			}).Bool()
	}
	app.Flag("web.enable-admin-api", "Ignored.").Hidden().Bool()
}

// minBytes is the least disk space that a log can be kept in.
const minBytes = 16 << 20

// validate finds what kingpin cannot.
func (f *flags) validate() error {
	if len(f.checkFiles) > 0 {
		f.configFile = ""
	}
	if f.gomemlimitRatio <= 0 || f.gomemlimitRatio > 1 {
		return errors.New("--auto-gomemlimit.ratio must be greater than 0 and at most 1")
	}
	if f.flushDeadline <= 0 {
		return errors.New("--storage.remote.flush-deadline must be greater than 0")
	}
	if f.maxConnections <= 0 {
		return errors.New("--web.max-connections must be greater than 0")
	}
	if f.checkpointBatch <= 0 {
		return errors.New("--storage.agent.checkpoint-batch-size must be greater than 0")
	}
	if f.autoReload && f.autoReloadInterval <= 0 {
		return errors.New("--config.auto-reload-interval must be greater than 0; --no-config.auto-reload turns reloading off")
	}
	if size := int64(f.walSegmentSize); size != 0 && (size < 10<<20 || size > 256<<20) {
		return errors.New("--storage.agent.wal-segment-size must be between 10MB and 256MB")
	}
	if f.maxBytes < minBytes {
		return errors.New("--storage.agent.max-bytes must be at least 16MiB")
	}
	if f.maxTime <= 0 {
		return errors.New("--storage.agent.retention.max-time must be greater than 0")
	}
	if err := f.validateLease(); err != nil {
		return err
	}
	for _, address := range f.listenAddresses {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("--web.listen-address %s: %w; use HOST:PORT", address, err)
		}
	}
	_, prefix, err := f.urls()
	if err != nil {
		return err
	}
	if err := web.Check(f.webConfigFile, prefix); err != nil {
		return err
	}
	f.features, err = parseFeatures(f.featureNames)
	return err
}

func (f *flags) validateLease() error {
	if d := time.Duration(f.leaseDuration); d < targets.ShortestLease || d > targets.LongestLease || d%time.Second != 0 {
		return fmt.Errorf("--lease.duration must be whole seconds from %s to %s", targets.ShortestLease, targets.LongestLease)
	}
	for _, name := range []struct{ flag, value string }{{"--lease.name", f.leaseName}, {"--lease.namespace", f.leaseNamespace}} {
		if wrong := validation.IsDNS1123Subdomain(name.value); name.value != "" && len(wrong) > 0 {
			return fmt.Errorf("%s %q: %s", name.flag, name.value, wrong[0])
		}
	}
	if f.leaseName == "" {
		return errors.New("--lease.name must not be empty")
	}
	return nil
}

// remember keeps the value of every flag for the API.
func (f *flags) remember(app *kingpin.Application) {
	boilerplate := kingpin.New("", "").Version("")
	f.values = make(map[string]string)
	for _, flag := range app.Model().Flags {
		if boilerplate.GetFlag(flag.Name) == nil && f.ignored[flag.Name] == nil {
			f.values[flag.Name] = flag.Value.String()
		}
	}
}

// report tells what of the command line is taken otherwise than in Prometheus.
func (f *flags) report(logger log.Logger) {
	for _, name := range slices.Sorted(maps.Keys(f.ignored)) {
		if *f.ignored[name] != "" {
			level.Warn(logger).Log("msg", "flag has no effect in torchbearer", "flag", "--"+name)
		}
	}
	f.features.report(logger)
}
