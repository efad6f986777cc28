// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/go-kit/log/level"
)

// answer is the envelope of every answer of the API, as Prometheus has it.
type answer struct {
	Status    string `json:"status"`
	Data      any    `json:"data,omitempty"`
	ErrorType string `json:"errorType,omitempty"`
	Error     string `json:"error,omitempty"`
}

// api makes a handler of a function that returns the data of an answer.
func (s *Server) api(data func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d, err := data(r)
		if err != nil {
			s.fail(w, r, statusOf(err), err.Error())
			return
		}
		s.writeJSON(w, r, http.StatusOK, answer{Status: "success", Data: d})
	})
}

// badRequest is an error that is the client's.
type badRequest string

// Error implements error.
func (e badRequest) Error() string { return string(e) }

// crowded is that the same is asked for by too many at once.
type crowded string

// Error implements error.
func (e crowded) Error() string { return string(e) }

func statusOf(err error) int {
	if _, ok := errors.AsType[crowded](err); ok {
		return http.StatusServiceUnavailable
	}
	if _, ok := errors.AsType[badRequest](err); ok {
		return http.StatusBadRequest
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// fail answers with an error: as JSON below /api/, as a line of text elsewhere.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, code int, text string) {
	if strings.HasPrefix(r.URL.Path, s.opts.RoutePrefix+"/api/") {
		s.writeJSON(w, r, code, answer{Status: "error", ErrorType: errorType(code), Error: text})
		return
	}
	http.Error(w, text, code)
}

func (s *Server) writeJSON(w http.ResponseWriter, r *http.Request, code int, a answer) {
	body, err := json.Marshal(a)
	if err != nil {
		level.Error(s.logger).Log("msg", "encoding an HTTP answer", "path", r.URL.Path, "err", err)
		http.Error(w, "encode the answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(body) // The client went away; nobody is left to be told.
}

// errorType is Prometheus's word for a status code.
func errorType(code int) string {
	switch code {
	case http.StatusNotFound:
		return "not_found"
	case http.StatusInternalServerError:
		return "internal"
	case http.StatusServiceUnavailable:
		return "unavailable"
	default:
		return "bad_data"
	}
}

// recorder notes the status code of an answer.
type recorder struct {
	http.ResponseWriter
	code int // 0 until the head of the answer is written.
}

func (r *recorder) WriteHeader(code int) {
	// A 1xx is not the answer yet.
	if r.code == 0 && code >= http.StatusOK {
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.code == 0 {
		r.code = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
