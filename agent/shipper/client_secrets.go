// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"encoding/base64"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
)

// hidden stands where a secret stood.
const hidden = "<secret>"

// shortestSecret: what is shorter cannot be told from other words.
const shortestSecret = 4

// sentSecrets collects what was sent in headers that may be secret, wherever it
// came from, so that a receiver that repeats it does not bring it into a log.
type sentSecrets struct {
	mu     sync.Mutex
	values []string
}

func (s *sentSecrets) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{WroteHeaderField: s.note}
}

// note is called for each header field, by a goroutine of the transport.
func (s *sentSecrets) note(name string, values []string) {
	switch textproto.CanonicalMIMEHeaderKey(name) {
	case "Host", "User-Agent", "Content-Length", "Content-Encoding", "Content-Type", "Accept-Encoding",
		"Retry-Attempt", "X-Prometheus-Remote-Write-Version", ":Authority", ":Method", ":Path", ":Scheme":
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values = append(s.values, values...)
}

// hide takes what was sent, and more that is given, out of a text.
func (s *sentSecrets) hide(text string, more []string) string {
	if text == "" {
		return ""
	}
	s.mu.Lock()
	sent := s.values
	s.mu.Unlock()
	for _, value := range sent {
		text = replaceSecret(text, value)
		scheme, credential, ok := strings.Cut(value, " ")
		if !ok {
			continue
		}
		text = replaceSecret(text, credential)
		if plain, err := base64.StdEncoding.DecodeString(credential); err == nil && strings.EqualFold(scheme, "basic") {
			_, password, _ := strings.Cut(string(plain), ":")
			text = replaceSecret(text, password)
		}
	}
	for _, value := range more {
		text = replaceSecret(text, value)
	}
	return text
}

func replaceSecret(text, secret string) string {
	if len(secret) < shortestSecret {
		return text
	}
	text = strings.ReplaceAll(text, secret, hidden)
	return strings.ReplaceAll(text, url.QueryEscape(secret), hidden)
}
