// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

// Door is what every series passes on its way to a destination: the external
// labels, the rules of write_relabel_configs, and the mandatory labels again.
type Door struct {
	Name, URL string // as in status.Destination
	Rules     []*relabel.Config
	Dropped   []int64   // points, by each rule
	Since     time.Time // of Dropped
	set       *settings
}

// Doors are those of all destinations, in the order of the config.
func (s *Shipper) Doors() []Door {
	all := []Door{}
	for _, d := range *s.running.Load() {
		set := d.set.Load()
		door := Door{Name: set.name, URL: set.url, Rules: set.relabel, set: set}
		door.Dropped, door.Since = d.ledger.ruleCounts(set)
		all = append(all, door)
	}
	return all
}

// Enter lets stand in b the labels of a series of the log as the rules see them.
func (d Door) Enter(b *labels.Builder, logged labels.Labels) { d.set.enter(b, logged) }

// Leave sets in b, where the rules have kept the series, the labels that they
// cannot change.
func (d Door) Leave(b *labels.Builder, logged labels.Labels) { d.set.leave(b, logged) }
