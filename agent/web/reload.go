// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"torchbearer/config"
)

// badConfig is an error that knows whether the config is at fault and not the agent.
type badConfig interface {
	error
	BadConfig() bool
}

// reload asks the agent to reload and waits for it. The client may hang up meanwhile: a reload once begun is carried through.
func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	if !s.opts.EnableLifecycle {
		s.fail(w, r, http.StatusForbidden, "reload over HTTP is off; start the agent with --web.enable-lifecycle, or send it SIGHUP")
		return
	}
	if !s.sameSite(r) {
		s.fail(w, r, http.StatusForbidden, "reload was asked for by a web page of another site; "+
			"if that page is the agent's own, set --web.external-url to the address it is seen under")
		return
	}
	dry, err := dryRunAsked(r)
	if err != nil {
		s.fail(w, r, http.StatusBadRequest, err.Error())
		return
	}
	if dry {
		s.dryRun(w, r)
		return
	}
	// A reload takes as long as it takes; only the answer to it has a time limit. Not all writers have deadlines.
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Time{})
	err = s.opts.Agent.Reload(s.reloads) //nolint:contextcheck // Not the request's context, see above.
	_ = control.SetWriteDeadline(time.Now().Add(s.limits.write))
	var bad badConfig
	switch {
	case err == nil:
		writeText(w, http.StatusOK, "Config reloaded.\n")
	case errors.As(err, &bad) && bad.BadConfig():
		s.fail(w, r, http.StatusBadRequest, config.HideSecrets(err.Error()))
	default:
		s.fail(w, r, http.StatusInternalServerError, config.HideSecrets(err.Error()))
	}
}

// sameSite reports whether a request is not one that a web page of another site made a browser send. Browsers set both
// headers themselves, no page can change them; a client without them is not a browser.
func (s *Server) sameSite(r *http.Request) bool {
	for _, site := range r.Header.Values("Sec-Fetch-Site") {
		if site != "same-origin" && site != "none" {
			return false
		}
	}
	for _, value := range r.Header.Values("Origin") {
		origin, err := url.Parse(value)
		if err != nil || origin.Host == "" {
			return false // Also "null", which is what a sandboxed frame sends.
		}
		host := hostOf(origin.Scheme, origin.Host)
		if host != hostOf(origin.Scheme, r.Host) && host != hostOf(s.opts.ExternalURL.Scheme, s.opts.ExternalURL.Host) {
			return false
		}
	}
	return true
}

// hostOf returns host and port in one spelling: lower case, and without the port that the scheme implies.
func hostOf(scheme, host string) string {
	host = strings.ToLower(host)
	switch scheme {
	case "http":
		return strings.TrimSuffix(host, ":80")
	case "https":
		return strings.TrimSuffix(host, ":443")
	default:
		return host
	}
}
