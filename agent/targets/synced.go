// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

// Ready is nil once every discovery has sent its first targets; else it names
// the kinds that have not. One that finds nothing may never send any.
func (t *Targets) Ready() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.silent) == 0 {
		return nil
	}
	kinds := slices.Sorted(maps.Keys(t.silent))
	return fmt.Errorf("no targets yet from service discovery of kind %s", strings.Join(kinds, ", "))
}

// watched returns a copy of configs whose discoveries tell t of their first
// targets.
func (t *Targets) watched(configs discovery.Configs) discovery.Configs {
	copies := make(discovery.Configs, 0, len(configs))
	for _, c := range configs {
		copies = append(copies, watchedConfig{Config: c, targets: t})
	}
	return copies
}

// watchedConfig is comparable by reflect.DeepEqual as the config in it is, since
// targets is one and the same: the manager keeps what is equal running.
type watchedConfig struct {
	discovery.Config

	targets *Targets
}

// NewDiscoverer implements discovery.Config.
func (c watchedConfig) NewDiscoverer(opts discovery.DiscovererOptions) (discovery.Discoverer, error) {
	d, err := c.Config.NewDiscoverer(opts)
	if err != nil {
		return nil, err
	}
	return &watchedDiscoverer{Discoverer: d, kind: c.Name(), targets: c.targets}, nil
}

// watchedDiscoverer counts as silent from its start to its first targets, or to
// its end.
type watchedDiscoverer struct {
	discovery.Discoverer

	kind    string
	targets *Targets
}

// Run implements discovery.Discoverer.
func (d *watchedDiscoverer) Run(ctx context.Context, out chan<- []*targetgroup.Group) {
	d.targets.count(d.kind, 1)
	heard := false
	hear := func() {
		if !heard {
			heard = true
			d.targets.count(d.kind, -1)
		}
	}
	defer hear()

	in := make(chan []*targetgroup.Group)
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.Discoverer.Run(ctx, in)
	}()
	for from := in; ; {
		select {
		case groups, ok := <-from:
			if !ok {
				// Some discoverers close their channel, others must not.
				from = nil
				continue
			}
			select {
			case out <- groups:
				hear()
			case <-ctx.Done():
			}
		case <-done:
			return
		}
	}
}

func (t *Targets) count(kind string, by int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.silent[kind] += by
	if t.silent[kind] == 0 {
		delete(t.silent, kind)
	}
}
