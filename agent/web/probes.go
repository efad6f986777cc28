// SPDX-License-Identifier: Apache-2.0

package web

import (
	"fmt"
	"net/http"
	"strings"

	"torchbearer/config"
)

// noticer is an Agent that can say in what way it is not as its user wants it, though it is ready.
type noticer interface{ Notice() string }

func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) {
	writeText(w, http.StatusOK, "Torchbearer is Healthy.\n")
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if err := s.opts.Agent.Ready(); err != nil {
		writeText(w, http.StatusServiceUnavailable, fmt.Sprintf("Torchbearer is not ready: %s\n", config.HideSecrets(err.Error())))
		return
	}
	text := "Torchbearer is Ready.\n"
	if n, ok := s.opts.Agent.(noticer); ok {
		if notice := strings.TrimSpace(n.Notice()); notice != "" {
			text += config.HideSecrets(notice) + "\n"
		}
	}
	writeText(w, http.StatusOK, text)
}

func writeText(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text)) // The client went away; nobody is left to be told.
}
