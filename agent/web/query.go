// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/url"
	"strconv"
)

// longestQuery is how many bytes of one parameter are heeded; no label that people look for is longer.
const longestQuery = 512

// parameter is one of the query's, bounded.
func parameter(query url.Values, name string) string {
	return key(query.Get(name))
}

// oneOf is the parameter if it is one of the choices, else "".
func oneOf(query url.Values, name string, choices ...string) string {
	for _, c := range choices {
		if query.Get(name) == c {
			return c
		}
	}
	return ""
}

// pager splits a long list into pages.
type pager struct {
	Page, Pages       int // from 1
	Total, First, End int // of the entries: First to End, counted from 0, End excluded
	query             url.Values
}

// newPager takes any page that is asked for as the nearest there is.
func newPager(query url.Values, total, size int) pager {
	p := pager{Page: 1, Pages: max(1, (total+size-1)/size), Total: total, query: query}
	if n, err := strconv.Atoi(query.Get("page")); err == nil || n > 0 { // Too large a number is the largest.
		p.Page = min(max(n, 1), p.Pages)
	}
	p.First = (p.Page - 1) * size
	p.End = min(p.First+size, total)
	return p
}

// From is the number of the first entry as people count.
func (p pager) From() int { return min(p.First+1, p.Total) }

// Previous is the link to the page before, "" when there is none.
func (p pager) Previous() string { return p.link(p.Page - 1) }

// Next is the link to the page after.
func (p pager) Next() string { return p.link(p.Page + 1) }

func (p pager) link(page int) string {
	if page < 1 || page > p.Pages {
		return ""
	}
	query := url.Values{}
	for name := range p.query {
		if value := parameter(p.query, name); value != "" && name != "page" {
			query.Set(name, value)
		}
	}
	query.Set("page", strconv.Itoa(page))
	return "?" + query.Encode()
}
