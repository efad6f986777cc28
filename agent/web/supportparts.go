// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"runtime/pprof"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/upstream/scrape"
	"torchbearer/config"
)

// SupportFile is a file of the support bundle that this package cannot write itself. It must hold no secret.
type SupportFile struct {
	Name  string // Such as host.txt.
	About string // What it is, in a line.
	Write func(ctx context.Context, w io.Writer) error
}

// supportPart is a file of the bundle.
type supportPart struct {
	name, about string
	profile     bool // Only for those who may have profiles.
	write       func(ctx context.Context, w *capped) error
}

// droppedOfJob is how many of the targets that a job drops are in a bundle.
const droppedOfJob = 200

// supportParts are what the status API answers, whatever that is, and what it does not have.
func (s *Server) supportParts(table []route) []supportPart {
	about := map[string]string{
		"buildinfo":    "what was built, and when",
		"destinations": "the ledger: what each destination was sent, refused, lost, and is still to get",
		"flags":        "the command line",
		"log":          "the last warnings and errors, the newest first",
		"runtimeinfo":  "the process",
		"scopes":       "which jobs are scraped here, and who scrapes the others",
		"series":       "which jobs and metrics make the series",
	}
	parts := []supportPart{
		// The first: where much hangs there may be no time for it later.
		{name: "goroutines.txt", about: "what every goroutine is at", profile: true, write: profileOf("goroutine", 2)},
		{name: "about.json", about: "who the agent is", write: s.aboutAgent},
		s.answerPart("ready.txt", "whether the agent does its work, or why not; what is wrong with its config file", "/-/ready", table),
	}
	for _, r := range table {
		name, ok := strings.CutPrefix(r.path, "/api/v1/status/")
		if !ok || name == "config" || !slices.Contains(r.methods, http.MethodGet) {
			continue
		}
		parts = append(parts, s.answerPart(name+".json", cmp.Or(about[name], "what "+r.path+" answers"), r.path, table))
	}
	parts = append(parts,
		supportPart{name: "config.yaml", about: "the running config, secrets hidden", write: s.configText},
		supportPart{name: "config-on-disk.yaml", about: "what is in its file, if that is not what runs; secrets hidden", write: s.configOnDisk},
		supportPart{name: "targets.jsonl", about: "what is scraped, a target a line, and how the last scrape went", write: s.activeLines},
		supportPart{name: "dropped.jsonl", about: fmt.Sprintf("what relabelling drops: counts by job, then at most %d targets of each", droppedOfJob), write: s.droppedLines},
		s.answerPart("metrics.txt", "the agent's own metrics", "/metrics", table),
	)
	for _, f := range s.opts.SupportFiles {
		parts = append(parts, supportPart{name: f.Name, about: f.About, write: func(ctx context.Context, w *capped) error { return f.Write(ctx, w) }})
	}
	return append(parts,
		supportPart{name: "heap.pprof", about: "what holds the memory, for go tool pprof", profile: true, write: profileOf("heap", 0)})
}

func profileOf(name string, debug int) func(context.Context, *capped) error {
	return func(_ context.Context, w *capped) error { return pprof.Lookup(name).WriteTo(w, debug) }
}

// answerPart is what a route answers to a GET.
func (s *Server) answerPart(name, about, path string, table []route) supportPart {
	handler := table[slices.IndexFunc(table, func(r route) bool { return r.path == path })].handler
	return supportPart{name: name, about: about, write: func(ctx context.Context, w *capped) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.opts.RoutePrefix+path, http.NoBody)
		if err != nil {
			return err
		}
		a := &answered{header: http.Header{}, to: w, code: http.StatusOK}
		handler.ServeHTTP(a, r)
		if a.code != http.StatusOK && path != "/-/ready" {
			return fmt.Errorf("%s answered %d %s", path, a.code, http.StatusText(a.code))
		}
		return nil
	}}
}

// answered is where a route answers into the bundle.
type answered struct {
	header http.Header
	to     io.Writer
	code   int
}

func (a *answered) Header() http.Header         { return a.header }
func (a *answered) WriteHeader(code int)        { a.code = code }
func (a *answered) Write(b []byte) (int, error) { return a.to.Write(b) }

func (s *Server) configText(_ context.Context, w *capped) error {
	_, err := io.WriteString(w, s.opts.Agent.Config())
	return err
}

// configOnDisk writes nothing where the file is what runs, or where nobody can tell.
func (s *Server) configOnDisk(_ context.Context, w *capped) error {
	if s.opts.ConfigOnDisk == nil {
		return nil
	}
	text, same := s.opts.ConfigOnDisk()
	if same {
		return nil
	}
	_, err := io.WriteString(w, text)
	return err
}

func (s *Server) aboutAgent(_ context.Context, w *capped) error {
	if s.opts.About == nil {
		return nil
	}
	return json.NewEncoder(w).Encode(s.opts.About())
}

func (s *Server) activeLines(ctx context.Context, w *capped) error {
	builder, lines := labels.NewBuilder(labels.EmptyLabels()), json.NewEncoder(w)
	total, err := 0, error(nil)
	eachTarget(s.opts.Targets.TargetsActive(), "", func(pool string, t *scrape.Target) {
		if total++; err == nil && !w.full() && ctx.Err() == nil {
			err = lines.Encode(s.activeTarget(pool, t, builder))
		}
	})
	w.note = fmt.Sprintf("there are %d targets", total)
	return err
}

func (s *Server) droppedLines(ctx context.Context, w *capped) error {
	builder, lines := labels.NewBuilder(labels.EmptyLabels()), json.NewEncoder(w)
	err := lines.Encode(map[string]any{"droppedTargetCounts": s.opts.Targets.TargetsDroppedCounts()})
	dropped := s.opts.Targets.TargetsDropped()
	for _, pool := range slices.Sorted(maps.Keys(dropped)) {
		for _, t := range dropped[pool][:min(len(dropped[pool]), droppedOfJob)] {
			if err == nil && !w.full() && ctx.Err() == nil {
				err = lines.Encode(droppedTarget{DiscoveredLabels: withoutSecrets(t.DiscoveredLabels(builder)), ScrapePool: pool})
			}
		}
	}
	return err
}

// gather has a part written, within the limit of bytes and of time. One that hangs is left behind, and not asked again
// before it has ended.
func (s *Server) gather(ctx context.Context, p supportPart, limit int) ([]byte, error) {
	if limit <= 0 {
		return nil, fmt.Errorf("left out: the bundle is at its limit of %d MiB", s.limits.bundle>>20)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("left out: the bundle took %s already", s.limits.bundleTime)
	}
	if _, busy := s.gathering.LoadOrStore(p.name, true); busy {
		return nil, errors.New("left out: it hangs since an earlier bundle")
	}
	ctx, cancel := context.WithTimeout(ctx, s.limits.partTime)
	defer cancel()
	type result struct {
		content []byte
		err     error
	}
	done := make(chan result, 1)
	go func() {
		w := &capped{limit: limit}
		err := s.writePart(ctx, p, w)
		s.gathering.Delete(p.name)
		done <- result{w.content(p.profile), err}
	}()
	select {
	case r := <-done:
		return r.content, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("not had within %s, or the client went away: %w", s.limits.partTime, ctx.Err())
	}
}

// writePart makes an error of a panic: a bundle is for agents that are broken.
func (s *Server) writePart(ctx context.Context, p supportPart, w *capped) (err error) {
	defer func() {
		if r := recover(); r != nil {
			s.metrics.panics.Inc()
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return p.write(ctx, w)
}

// capped keeps the first bytes of what is written, and counts the rest.
type capped struct {
	kept  bytes.Buffer
	limit int
	total int64
	note  string // About all that there is, for when it is cut.
}

func (c *capped) Write(b []byte) (int, error) {
	c.total += int64(len(b))
	c.kept.Write(b[:min(len(b), c.limit-c.kept.Len())])
	return len(b), nil
}

func (c *capped) full() bool { return c.total > int64(c.limit) }

// content is what was kept. All that is not raw is text: as the last that sees it, this hides what may be secret in URLs,
// such as in the labels of metrics.
func (c *capped) content(raw bool) []byte {
	if raw && !c.full() {
		return c.kept.Bytes()
	}
	text := c.kept.Bytes()
	if !raw {
		text = []byte(config.HideSecrets(c.kept.String()))
	}
	if !c.full() {
		return text
	}
	text = fmt.Appendf(text, "\n[cut after %d bytes", c.kept.Len())
	if c.note != "" {
		text = append(text, "; "+c.note...)
	}
	return append(text, "]\n"...)
}
