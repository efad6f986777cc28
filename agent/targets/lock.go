// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	coordination "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// What a lease may say that others have to wait for it. More than the longest is
// somebody's hand.
const (
	ShortestLease = 4 * time.Second
	LongestLease  = time.Minute
)

// lock is the Lease object as client-go's leader election sees it. Reads are
// from memory, which one watch keeps up to date, so that the many who wait cost
// the API server nothing but that watch. Writes tell the fence how long nobody
// else can have the lease.
type lock struct {
	client   coordinationclient.LeaseInterface
	meta     metav1.ObjectMeta // name and namespace
	identity string
	duration time.Duration
	fence    *fence
	usurped  chan struct{} // holds one: the lease was seen in other hands

	mu      sync.Mutex          // guards the fields below
	latest  *coordination.Lease // the newest seen; nil is none
	gone    time.Time           // when latest was seen deleted
	written time.Time           // when the last write of our own began
	trouble error               // of the last write
}

var _ resourcelock.Interface = (*lock)(nil)

// Identity implements resourcelock.Interface.
func (l *lock) Identity() string { return l.identity }

// Describe implements resourcelock.Interface.
func (l *lock) Describe() string { return l.meta.Namespace + "/" + l.meta.Name }

// RecordEvent implements resourcelock.Interface. Who holds the lease is logged.
func (l *lock) RecordEvent(string) {}

// Get implements resourcelock.Interface.
func (l *lock) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Whoever held a lease that was deleted may be cut off and not know.
	if l.latest == nil || !l.gone.IsZero() && time.Since(l.gone) > l.duration {
		return nil, nil, apierrors.NewNotFound(coordination.Resource("leases"), l.meta.Name)
	}
	record := resourcelock.LeaseSpecToLeaderElectionRecord(&l.latest.Spec)
	if s := time.Duration(record.LeaseDurationSeconds) * time.Second; record.HolderIdentity != "" && (s <= 0 || s > LongestLease) {
		record.LeaseDurationSeconds = int(l.duration / time.Second)
	}
	raw, err := json.Marshal(record)
	if err != nil {
		return nil, nil, fmt.Errorf("compare lease %s: %w", l.Describe(), err)
	}
	return record, raw, nil
}

// Create implements resourcelock.Interface.
func (l *lock) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	lease := &coordination.Lease{ObjectMeta: l.meta, Spec: resourcelock.LeaderElectionRecordToLeaseSpec(&record)}
	return l.write(ctx, record.HolderIdentity, func(ctx context.Context) (*coordination.Lease, error) {
		return l.client.Create(ctx, lease, metav1.CreateOptions{})
	})
}

// Update implements resourcelock.Interface. The election asks for it more often
// than the lease needs it: what was just renewed is not renewed again.
func (l *lock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	l.mu.Lock()
	lease, written, gone := l.latest, l.written, !l.gone.IsZero()
	l.mu.Unlock()
	if lease == nil {
		return errors.New("there is no lease")
	}
	ours := holder(lease) == l.identity
	switch {
	case record.HolderIdentity == "" && !ours:
		return errors.New("the lease is not ours to give away")
	case record.HolderIdentity != "" && ours && !gone && time.Since(written) < l.duration/4:
		return nil
	}
	lease = lease.DeepCopy()
	lease.Spec = resourcelock.LeaderElectionRecordToLeaseSpec(&record)
	return l.write(ctx, record.HolderIdentity, func(ctx context.Context) (*coordination.Lease, error) {
		return l.client.Update(ctx, lease, metav1.UpdateOptions{})
	})
}

// write does a write and takes in what came of it.
func (l *lock) write(ctx context.Context, identity string, write func(context.Context) (*coordination.Lease, error)) error {
	ctx, cancel := context.WithTimeout(ctx, l.duration/4)
	defer cancel()
	begun := time.Now()
	lease, err := write(ctx)
	l.mu.Lock()
	l.trouble = err
	l.mu.Unlock()
	switch {
	case err == nil:
		l.take(lease)
		l.mu.Lock()
		l.written = begun
		l.mu.Unlock()
		if identity == l.identity {
			// The others wait for the duration from when they saw it, which is
			// after it began. What is left out is for a scrape to be written in.
			l.fence.extend(begun.Add(l.duration - l.duration/12))
		}
		return nil
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		if lease, getErr := l.client.Get(ctx, l.meta.Name, metav1.GetOptions{}); getErr == nil {
			l.take(lease)
		}
	case apierrors.IsNotFound(err):
		l.take(nil)
	}
	return fmt.Errorf("write lease %s: %w", l.Describe(), err)
}

// see takes in what the watch brings, which may be older than what is known.
func (l *lock) see(lease *coordination.Lease) {
	l.mu.Lock()
	known := l.latest
	l.mu.Unlock()
	if known != nil && known.UID == lease.UID {
		was, err := strconv.ParseUint(known.ResourceVersion, 10, 64)
		is, isErr := strconv.ParseUint(lease.ResourceVersion, 10, 64)
		if err == nil && isErr == nil && is < was {
			return
		}
	}
	l.take(lease)
}

// take makes lease what is known; nil is that there is none.
func (l *lock) take(lease *coordination.Lease) {
	l.mu.Lock()
	l.latest, l.gone = lease, time.Time{}
	l.mu.Unlock()
	if lease != nil && holder(lease) != l.identity {
		select {
		case l.usurped <- struct{}{}:
		default:
		}
	}
}

// missed takes in that the lease was deleted.
func (l *lock) missed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = time.Now()
}

// state is who holds the lease, "" being nobody, and what is wrong with writing.
func (l *lock) state() (holding string, trouble error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.latest != nil && l.gone.IsZero() {
		holding = holder(l.latest)
	}
	return holding, l.trouble
}

// ballot is the lock for one election. An election that is over and has not ended
// yet, waiting for the API server, must not write any more.
type ballot struct {
	*lock

	void atomic.Bool
}

// Update implements resourcelock.Interface.
func (b *ballot) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if b.void.Load() {
		return errors.New("this election is over")
	}
	return b.lock.Update(ctx, record)
}

// Create implements resourcelock.Interface.
func (b *ballot) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	if b.void.Load() {
		return errors.New("this election is over")
	}
	return b.lock.Create(ctx, record)
}

func holder(lease *coordination.Lease) string {
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}
