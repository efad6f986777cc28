// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"fmt"
	"time"

	coordination "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Foresee is for a Targets that is never run, from Locate on: it looks up who
// holds the lease, and never takes it. Where nobody does, this agent would. An
// agent that does not know its node, as on somebody's desk, heeds the lease of
// the cluster too: the agents there have its jobs.
func (t *Targets) Foresee(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.place.client == nil || t.opts.Part == PartNode {
		return nil
	}
	if t.lease == nil {
		t.stand()
	}
	lock := t.lease.lock
	lease, err := lock.client.Get(ctx, lock.meta.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		lease = nil
	case err != nil && !t.place.lease:
		t.lease = nil // Nothing needs it.
		return fmt.Errorf("look up lease %s: %w", lock.name(), err)
	case err != nil:
		lock.trouble = err
		t.lease.synced = true
		return fmt.Errorf("look up lease %s: %w", lock.name(), t.lease.explain(err))
	}
	t.lease.synced = true
	if !held(lease) {
		if !t.place.lease {
			t.lease = nil // No agents share this cluster.
		}
		t.holding = true
		return nil
	}
	lock.latest = lease
	t.place.lease = true
	t.holding = holder(lease) == lock.identity
	return nil
}

// held says whether somebody holds the lease who has renewed it lately, with some
// leeway for clocks that differ.
func held(lease *coordination.Lease) bool {
	if lease == nil || holder(lease) == "" {
		return false
	}
	return lease.Spec.RenewTime == nil || time.Since(lease.Spec.RenewTime.Time) < 2*LongestLease
}
