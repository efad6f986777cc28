// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"context"
	"sync"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/rulebook"
	"torchbearer/agent/status"
	"torchbearer/config"
)

// probesAtOnce bounds how many destinations are asked at the same time.
const probesAtOnce = 8

// Rehearsal finds out what the destinations of a config would be sent, and
// whether they would take it, without sending any sample. It has clients of its
// own; nothing is journalled or counted.
type Rehearsal struct {
	destinations []*rehearsed
}

// rehearsed is one destination.
type rehearsed struct {
	set     *settings
	rules   *rulebook.Rules
	pass    *rulebook.Pass // of all series
	builder *labels.Builder
	series  int
	told    status.ReportDestination
}

// Rehearse makes the clients of cfg. Close must be called.
func Rehearse(cfg *config.Config, typeAndUnitLabels bool) (*Rehearsal, error) {
	sets, err := (&Shipper{opts: Options{TypeAndUnitLabels: typeAndUnitLabels}}).settings(cfg)
	if err != nil {
		return nil, err
	}
	r := &Rehearsal{}
	for _, set := range sets {
		rules := rulebook.New(set.relabel)
		r.destinations = append(r.destinations, &rehearsed{
			set: set, rules: rules, pass: rules.Pass(), builder: labels.NewBuilder(labels.EmptyLabels()),
		})
	}
	return r, nil
}

// Close lets go of connections.
func (r *Rehearsal) Close() {
	for _, d := range r.destinations {
		d.set.client.close()
	}
}

// Taste lets a series of the log pass through the rules of each destination. It
// is for one goroutine at a time.
func (r *Rehearsal) Taste(ls labels.Labels) {
	for _, d := range r.destinations {
		d.set.enter(d.builder, ls)
		if d.pass.Process(d.builder, ls.String) {
			d.series++
		}
	}
}

// Ask sends each destination an empty request, all of them at once, until ctx is
// done.
func (r *Rehearsal) Ask(ctx context.Context) {
	var asking sync.WaitGroup
	slots := make(chan struct{}, probesAtOnce)
	for _, d := range r.destinations {
		asking.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			d.told = d.ask(ctx)
		})
	}
	asking.Wait()
}

// ask asks by Remote Write 2.0 if that is what is sent, and by 1.0 where the
// receiver does not know it.
func (d *rehearsed) ask(ctx context.Context) status.ReportDestination {
	told := d.try(ctx, d.set.v2)
	if d.set.v2 && told.Verdict == probeOld {
		told = d.try(ctx, false)
		told.Note = "the receiver does not speak Remote Write 2.0; 1.0 would be sent"
	}
	return told
}

// probeOld is that the receiver does not know Remote Write 2.0; nobody is told.
const probeOld = "wrong protocol"

// try sends one empty request.
func (d *rehearsed) try(ctx context.Context, v2 bool) status.ReportDestination {
	body := snappy.Encode(nil, newEncoder(v2, d.set.encode).encode(nil, nil))
	begun := time.Now()
	a := d.set.client.post(ctx, v2, body, 0)
	told := status.ReportDestination{
		Name: d.set.name, URL: config.HideSecrets(d.set.url), Protocol: "1.0", Status: a.status,
		Seconds: time.Since(begun).Seconds(), Words: a.words,
	}
	if v2 {
		told.Protocol = "2.0"
	}
	if a.err != nil {
		told.Words = a.err.Error()
	}
	told.Words = rulebook.Clip(config.HideSecrets(told.Words), maxWords)
	told.Verdict, told.Note = probed(&a)
	return told
}

// probed is what an answer to an empty request means.
func probed(a *answer) (verdict, note string) {
	switch {
	case a.status == 0 && a.certificate:
		return status.ProbeTLS, "check ca_file, server_name and the certificates of both sides"
	case a.status == 0 && a.verdict == park:
		return status.ProbeAuth, "no token could be had"
	case a.status == 0 || a.err != nil:
		return status.ProbeUnreachable, "what is scraped is kept on disk until it can be reached"
	case a.verdict == wrongProtocol:
		return probeOld, ""
	case a.verdict == stored:
		return status.ProbeOK, ""
	case a.status == 401 || a.status == 403 || a.status == 407:
		return status.ProbeAuth, "check the credentials, and whether they may write"
	case a.status == 404 || a.status == 405:
		return status.ProbeNotFound, "check the path of the URL, and whether the receiver is enabled"
	case a.verdict == retry:
		return status.ProbeBusy, "what is scraped is kept on disk until the receiver can take it"
	case a.verdict == refused:
		return status.ProbeRefused, "some receivers say so to a request without samples; the credentials were taken"
	case a.status/100 == 2:
		return status.ProbeRefused, "what answers is a page for a browser and no receiver"
	default:
		return status.ProbeRefused, "what answers is no receiver that is ready"
	}
}

// Report tells of all destinations, in the order of the config.
func (r *Rehearsal) Report() ([]status.ReportDestination, []status.Finding) {
	all, found := []status.ReportDestination{}, []status.Finding{}
	for _, d := range r.destinations {
		d.pass.Count()
		d.told.Rules, d.told.Series = d.rules.Report(), d.series
		all = append(all, d.told)
		found = append(found, d.rules.Suspect("", "write_relabel_configs of "+d.set.name, "series")...)
	}
	return all, found
}
