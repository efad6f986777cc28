// SPDX-License-Identifier: Apache-2.0

package rulebook

import (
	"strings"
	"unicode"

	"torchbearer/config"
)

// Clip makes a text that somebody else wrote fit to be shown: valid UTF-8, without
// characters that steer a terminal, without secrets in URLs, half ones included,
// and of at most n bytes and a few more.
func Clip(text string, n int) string {
	text = config.HideSecrets(text)
	cut := len(text) > n
	if cut {
		text = text[:n]
	}
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD' // Also those that turn the direction of writing.
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if cut {
		text += "…"
	}
	return text
}
