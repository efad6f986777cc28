// SPDX-License-Identifier: Apache-2.0

package web

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// assets are the files that pages are made of beside their text: their relative addresses by name, and their routes. An
// address changes with what is in the file, so that browsers may keep it.
func (s *Server) assets() (map[string]string, []route, error) {
	get := []string{http.MethodGet, http.MethodHead}
	addresses := map[string]string{}
	var routes []route
	for name, contentType := range map[string]string{
		"style.css":  "text/css; charset=utf-8",
		"refresh.js": "text/javascript; charset=utf-8",
		"icon.svg":   "image/svg+xml",
	} {
		content, err := pageFiles.ReadFile("pages/" + name)
		if err != nil {
			return nil, nil, fmt.Errorf("read %s: %w", name, err)
		}
		sum := sha256.Sum256(content)
		tag := hex.EncodeToString(sum[:8])
		addresses[name] = "static/" + name + "?v=" + tag
		routes = append(routes, route{"/static/" + name, get, asset(content, contentType, tag)})
	}
	return addresses, routes, nil
}

func asset(content []byte, contentType, tag string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("ETag", `"`+tag+`"`)
		h.Set("Cache-Control", "no-cache")
		if r.URL.Query().Get("v") == tag {
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		if strings.Contains(r.Header.Get("If-None-Match"), `"`+tag+`"`) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", contentType)
		h.Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content) // The client went away; nobody is left to be told.
	})
}
