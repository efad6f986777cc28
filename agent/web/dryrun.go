// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"torchbearer/agent/rehearsal"
	"torchbearer/agent/status"
)

const (
	dryRunTimeout  = 30 * time.Second
	longestDryRun  = 5 * time.Minute
	busyRetryAfter = "5" // seconds
)

// busy is an error that knows that it is one only because of another who is at it.
type busy interface {
	error
	Busy() bool
}

// dryRunAsked reads dry_run of a reload. What is neither yes nor no must not be
// taken for a reload.
func dryRunAsked(r *http.Request) (bool, error) {
	// A form counts as the query does: who asks for a dry run that way must not get a reload.
	if err := r.ParseForm(); err != nil {
		return false, fmt.Errorf("read the form that came with the request: %w; nothing was done", err)
	}
	values, given := r.Form["dry_run"]
	if !given {
		return false, nil
	}
	asked, err := strconv.ParseBool(values[0])
	if err != nil || len(values) > 1 {
		return false, errors.New("dry_run must be true or false, once; nothing was done")
	}
	return asked, nil
}

// dryRun tells what a reload would do. It ends with its client.
func (s *Server) dryRun(w http.ResponseWriter, r *http.Request) {
	if s.opts.DryRun == nil {
		s.fail(w, r, http.StatusNotImplemented, "this server cannot run a reload dry")
		return
	}
	timeout := dryRunTimeout
	if given := r.Form.Get("timeout"); given != "" {
		var err error
		if timeout, err = time.ParseDuration(given); err != nil || timeout <= 0 || timeout > longestDryRun {
			s.fail(w, r, http.StatusBadRequest, fmt.Sprintf("timeout must be a duration of at most %s, such as 30s", longestDryRun))
			return
		}
	}
	asJSON, err := wantsJSON(r)
	if err != nil {
		s.fail(w, r, http.StatusBadRequest, err.Error())
		return
	}
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Time{})
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	defer context.AfterFunc(s.reloads, cancel)() //nolint:contextcheck // It also ends when the server stops.
	report, err := s.opts.DryRun(ctx)
	_ = control.SetWriteDeadline(time.Now().Add(s.limits.write))
	var other busy
	switch {
	case errors.As(err, &other) && other.Busy():
		w.Header().Set("Retry-After", busyRetryAfter)
		s.fail(w, r, http.StatusTooManyRequests, err.Error())
	case err != nil:
		s.fail(w, r, http.StatusInternalServerError, err.Error())
	default:
		s.writeReport(w, r, &report, asJSON)
	}
}

// wantsJSON says whether a report is asked for as JSON.
func wantsJSON(r *http.Request) (bool, error) {
	switch output := r.Form.Get("output"); output {
	case "json":
		return true, nil
	case "text":
		return false, nil
	case "":
		return strings.Contains(strings.Join(r.Header.Values("Accept"), ","), "application/json"), nil
	default:
		return false, errors.New("output must be json or text")
	}
}

func (s *Server) writeReport(w http.ResponseWriter, r *http.Request, report *status.Report, asJSON bool) {
	code := http.StatusOK
	if report.Verdict == status.VerdictBad {
		code = http.StatusBadRequest
	}
	if !asJSON && code != http.StatusOK {
		s.fail(w, r, code, strings.Join(report.Violations, "\n")) // As a reload does.
		return
	}
	var body bytes.Buffer
	err := rehearsal.Text(&body, report)
	kind := "text/plain; charset=utf-8"
	if asJSON {
		body.Reset()
		kind, err = "application/json", json.NewEncoder(&body).Encode(report)
	}
	if err != nil {
		s.fail(w, r, http.StatusInternalServerError, "write the report: "+err.Error())
		return
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(code)
	_, _ = w.Write(body.Bytes()) // The client went away; nobody is left to be told.
}
