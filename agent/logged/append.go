// SPDX-License-Identifier: Apache-2.0

package logged

import (
	"context"
	"errors"
)

// ErrRefused is the answer to a sample of a new series that is over a limit.
var ErrRefused = errors.New("the series is new, and over a limit of series")

// OfReport ends the metric family name that the scrape library gives to the
// samples that it adds to a scrape itself; no exposition can have it.
const OfReport = "\xff"

// jobContext carries the name of a scrape job. It is a context of its own, and
// not a value in one, so that it costs one allocation a scrape.
type jobContext struct {
	context.Context

	job string
}

type jobKey struct{}

// WithJob says which job is scraped to whoever is given the context.
func WithJob(ctx context.Context, job string) context.Context { return &jobContext{ctx, job} }

// Value implements context.Context.
func (c *jobContext) Value(key any) any {
	if _, ok := key.(jobKey); ok {
		return c
	}
	return c.Context.Value(key)
}

// JobOf is the job of a context, "" for none.
func JobOf(ctx context.Context) string {
	if c, ok := ctx.Value(jobKey{}).(*jobContext); ok {
		return c.job
	}
	return ""
}
