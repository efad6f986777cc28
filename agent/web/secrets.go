// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/url"
	"strings"
)

// hidden stands where a secret was, as Prometheus writes it.
const hidden = "<secret>"

func hideFlags(flags map[string]string) map[string]string {
	shown := make(map[string]string, len(flags))
	for name, value := range flags {
		shown[name] = hidePasswords(value)
	}
	return shown
}

// hidePasswords replaces the password of every URL in text.
func hidePasswords(text string) string {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "://")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		out.WriteString("://")
		end := userinfoEnd(rest)
		if user, _, has := strings.Cut(rest[:max(end, 0)], ":"); has {
			out.WriteString(user + ":" + hidden)
			rest = rest[end:]
		}
		text = rest
	}
}

// userinfoEnd returns where the @ stands that ends the user and password at the begin of rest, -1 when there are none.
func userinfoEnd(rest string) int {
	if space := strings.IndexAny(rest, " \t\r\n"); space >= 0 {
		rest = rest[:space]
	}
	authority := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority = rest[:end]
	}
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		return at
	}
	// A password with an unescaped slash makes no valid URL, but it is a password that someone typed.
	if _, err := url.Parse("http://" + rest); err != nil {
		return strings.LastIndexByte(rest, '@')
	}
	return -1
}
