// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	coordination "k8s.io/api/coordination/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

var errElectionOver = errors.New("this election is over")

// ballot is the lock as one election of client-go sees it: what it writes is
// written over what it has looked at, and over nothing newer. An election that is
// over and has not ended yet, waiting for the API server, writes no more.
type ballot struct {
	*lock

	looked *coordination.Lease // at; only for the election's goroutine
	void   atomic.Bool
}

var _ resourcelock.Interface = (*ballot)(nil)

// Identity implements resourcelock.Interface.
func (b *ballot) Identity() string { return b.identity }

// Describe implements resourcelock.Interface.
func (b *ballot) Describe() string { return b.name() }

// RecordEvent implements resourcelock.Interface. Who holds the lease is logged.
func (b *ballot) RecordEvent(string) {}

// Get implements resourcelock.Interface.
func (b *ballot) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	lease, record, err := b.read()
	if err != nil {
		return nil, nil, err
	}
	raw, err := json.Marshal(record)
	if err != nil {
		return nil, nil, fmt.Errorf("compare lease %s: %w", b.name(), err)
	}
	b.looked = lease
	return record, raw, nil
}

// Create implements resourcelock.Interface.
func (b *ballot) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if b.void.Load() {
		return errElectionOver
	}
	lease, err := b.create(ctx, record)
	if err == nil {
		b.looked = lease
	}
	return err
}

// Update implements resourcelock.Interface.
func (b *ballot) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	switch {
	case b.void.Load():
		return errElectionOver
	case b.looked == nil:
		return errors.New("there is no lease")
	}
	lease, err := b.update(ctx, b.looked, record)
	if err == nil {
		b.looked = lease
	}
	return err
}
