// SPDX-License-Identifier: Apache-2.0

package web

import (
	"cmp"
	"maps"
	"net/http"
	"slices"

	"torchbearer/agent/status"
)

const (
	destinationsMost = 32 // on the page
	refusalsMost     = 20 // of a destination
)

// destinationView is a destination with what a template cannot work out.
type destinationView struct {
	*status.Destination

	ID                                   string
	Level, State                         string
	Oldest, Success, ErrorAt, Bad, Since moment
	Lost, LeftOut                        []counted
	LostAll, LeftOutAll                  int64
	Gap                                  int64 // what is missing for the ledger to add up
	Budget, Clock                        string
	Refusals                             []refusalView
	Backlog, Throughput                  graph
}

type (
	// counted is a number by reason.
	counted struct {
		Reason, Meaning string
		N               int64
	}
	refusalView struct {
		status.Refusal

		When moment
	}
)

// destination adds what is worked out, but no graphs.
func (l *look) destination(d *status.Destination) destinationView {
	v := destinationView{
		Destination: d, ID: anchor(d.Name), Level: levelGood, State: "Sending",
		Oldest: l.since(d.OldestPending), Success: l.since(d.LastSuccess), ErrorAt: l.since(d.LastErrorAt), Since: l.at(d.Ledger.Since),
		Lost: byReason(d.Ledger.Lost), LeftOut: byReason(d.Ledger.LeftOut), LostAll: total(d.Ledger.Lost), LeftOutAll: total(d.Ledger.LeftOut),
	}
	v.Gap = d.Ledger.Scraped - d.Ledger.Sent - d.Ledger.Pending - v.LostAll - v.LeftOutAll
	switch {
	case d.ParkedSince != nil:
		v.Level, v.State, v.Bad = levelBad, "Not ready to receive", l.since(d.ParkedSince)
	case d.FailingSince != nil:
		v.Level, v.State, v.Bad = levelBad, "Failing", l.since(d.FailingSince)
	case d.BacklogSeconds > oldBacklog.Seconds():
		v.Level, v.State = levelWarn, "Catching up"
	case d.LastSuccess == nil && d.Ledger.Sent == 0:
		v.Level, v.State = levelWarn, "Nothing sent yet"
	}
	if d.BudgetHours != nil {
		v.Budget = seconds(*d.BudgetHours * 3600)
	}
	if d.ClockOffsetSeconds != nil {
		v.Clock = seconds(*d.ClockOffsetSeconds)
	}
	return v
}

// byReason puts the largest first.
func byReason(by map[string]int64) []counted {
	list := make([]counted, 0, len(by))
	for _, name := range slices.Sorted(maps.Keys(by)) {
		list = append(list, counted{name, meaning(name), by[name]})
	}
	slices.SortStableFunc(list, func(a, b counted) int { return cmp.Compare(b.N, a.N) })
	return list
}

// meaning explains a reason of the ledger; "" is one that explains itself.
func meaning(reason string) string {
	return map[string]string{
		"budget":           "the disk budget was spent before they could be sent",
		"retention":        "they could not be sent for longer than they are kept",
		"unknown_series":   "the record with their labels is damaged or gone",
		"damaged":          "they were on disk, and the disk did not give them back",
		"no_space":         "there was no room on disk",
		"write_error":      "they could not be written to disk",
		"sample_age_limit": "they were older than sample_age_limit allows",
		"out_of_order":     "the receiver has newer ones of the same series",
		"duplicate":        "the receiver has others of the same time",
		"too_old":          "the receiver does not take what is so old",
		"out_of_bounds":    "the receiver does not take their time",
		"invalid":          "the receiver finds something wrong with them",
		"too_large":        "the receiver finds them too large",
		"refused_other":    "the receiver refused them; its words are below",
		"write_relabel":    "a rule of write_relabel_configs drops them",
		"native_histogram": "send_native_histograms is off",
		"repeated":         "they are on disk a second time",
		"not_convertible":  "they have no classic form",
	}[reason]
}

// destinationsData is what the page shows.
type destinationsData struct {
	List      []destinationView
	More      int
	Retention string // how long samples are kept at most; "" is not known
}

func (s *Server) destinationsPage(l *look, _ *http.Request) (any, error) {
	data := destinationsData{More: max(len(l.Destinations)-destinationsMost, 0), Retention: s.opts.StorageRetention}
	for i := range l.Destinations[:min(len(l.Destinations), destinationsMost)] {
		d := &l.Destinations[i]
		v := l.destination(d)
		points := s.history.of(d.Name)
		v.Backlog, v.Throughput = backlogGraph(points, l.Now), throughputGraph(points, l.Now)
		for _, r := range d.Refused[:min(len(d.Refused), refusalsMost)] {
			v.Refusals = append(v.Refusals, refusalView{r, l.at(r.Time)})
		}
		data.List = append(data.List, v)
	}
	return data, nil
}
