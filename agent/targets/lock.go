// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	coordination "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// What a lease may say that others have to wait for it. More than the longest is
// somebody's hand.
const (
	ShortestLease = 4 * time.Second
	LongestLease  = time.Minute
)

const (
	// releasedSeconds is what client-go writes as the duration of a lease that is
	// given away.
	releasedSeconds = 1
	// firstPause and longestPause are between writes that fail.
	firstPause   = time.Second
	longestPause = 30 * time.Second
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
	report   func(error)   // is told why a write failed

	mu       sync.Mutex          // guards the fields below
	latest   *coordination.Lease // the newest seen; nil is none
	gone     time.Time           // when latest was seen deleted
	foreign  bool                // others held the lease since the last write of our own
	written  time.Time           // when the last write of our own began
	conflict bool                // a write from latest was refused: there is a newer one
	pause    time.Duration       // after the last write that failed
	again    time.Time           // no write before, unless the fence is open
	trouble  error               // of the last write
}

// name is for people.
func (l *lock) name() string { return l.meta.Namespace + "/" + l.meta.Name }

// read returns the lease and what the election is to think of it. What only
// somebody's hand can have written is shown as the lease of another who is to be
// waited for: whoever held it before may be cut off and not know.
func (l *lock) read() (*coordination.Lease, *resourcelock.LeaderElectionRecord, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.latest == nil || !l.gone.IsZero() && time.Since(l.gone) > l.duration {
		return nil, nil, apierrors.NewNotFound(coordination.Resource("leases"), l.meta.Name)
	}
	record := resourcelock.LeaseSpecToLeaderElectionRecord(&l.latest.Spec)
	released := record.HolderIdentity == "" && record.LeaseDurationSeconds == releasedSeconds
	if record.HolderIdentity == "" && !released || record.HolderIdentity == l.identity && l.foreign {
		record.HolderIdentity = "somebody's hand"
	}
	if s := time.Duration(record.LeaseDurationSeconds) * time.Second; !released && (s < l.duration || s > LongestLease) {
		record.LeaseDurationSeconds = int(l.duration / time.Second)
	}
	if record.LeaderTransitions < 0 || record.LeaderTransitions >= math.MaxInt32 {
		record.LeaderTransitions = 0 // The next one could not be written.
	}
	return l.latest, record, nil
}

// create makes the lease.
func (l *lock) create(ctx context.Context, record resourcelock.LeaderElectionRecord) (*coordination.Lease, error) {
	lease := &coordination.Lease{ObjectMeta: l.meta, Spec: resourcelock.LeaderElectionRecordToLeaseSpec(&record)}
	return l.write(ctx, record.HolderIdentity, func(ctx context.Context) (*coordination.Lease, error) {
		return l.client.Create(ctx, lease, metav1.CreateOptions{})
	})
}

// update writes the record over the lease that the election has looked at. The
// election asks for it more often than the lease needs it: what was just renewed
// is not renewed again.
func (l *lock) update(ctx context.Context, lease *coordination.Lease, record resourcelock.LeaderElectionRecord) (*coordination.Lease, error) {
	l.mu.Lock()
	latest, written, gone := l.latest, l.written, !l.gone.IsZero()
	ours := holder(lease) == l.identity && !l.foreign
	l.mu.Unlock()
	switch {
	case latest == nil:
		return nil, errors.New("there is no lease")
	case latest.ResourceVersion != lease.ResourceVersion:
		return nil, l.changed()
	case record.HolderIdentity == "" && !ours:
		return nil, errors.New("the lease is not ours to give away")
	case record.HolderIdentity != "" && ours && !gone && time.Since(written) < l.duration/4:
		return lease, nil
	}
	lease = lease.DeepCopy()
	lease.Spec = resourcelock.LeaderElectionRecordToLeaseSpec(&record)
	return l.write(ctx, record.HolderIdentity, func(ctx context.Context) (*coordination.Lease, error) {
		return l.client.Update(ctx, lease, metav1.UpdateOptions{})
	})
}

// changed is the error of an election that has looked at an older lease.
func (l *lock) changed() error {
	return fmt.Errorf("write lease %s: %w", l.name(), apierrors.NewConflict(coordination.Resource("leases"), l.meta.Name, errors.New("it has changed meanwhile")))
}

// write does a write and takes in what came of it.
func (l *lock) write(ctx context.Context, identity string, write func(context.Context) (*coordination.Lease, error)) (*coordination.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, l.duration/4)
	defer cancel()
	if err := l.mayWrite(ctx); err != nil {
		return nil, err
	}
	begun := time.Now()
	lease, err := write(ctx)
	switch {
	case err == nil:
		l.wrote(lease, begun)
		if identity == l.identity {
			// The others wait for the duration from when they saw it, which is
			// after it began. What is left out is for a scrape to be written in.
			l.fence.extend(begun.Add(l.duration - l.duration/12))
		}
		return lease, nil
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		// Somebody was faster. The watch tells who; only if it does not, the
		// next attempt asks.
		l.mu.Lock()
		l.conflict = true
		l.mu.Unlock()
		return nil, fmt.Errorf("write lease %s: %w", l.name(), err)
	case apierrors.IsNotFound(err) && l.known():
		l.take(nil) // It was deleted; the next attempt makes it.
		return nil, fmt.Errorf("write lease %s: %w", l.name(), err)
	}
	err = fmt.Errorf("write lease %s: %w", l.name(), err)
	l.failed(err)
	return nil, err
}

// mayWrite is nil unless a write can only fail, or failed too short a time ago.
func (l *lock) mayWrite(ctx context.Context) error {
	l.mu.Lock()
	left, conflict, trouble := time.Until(l.again), l.conflict, l.trouble
	l.mu.Unlock()
	if left > 0 && l.fence.left() == 0 {
		return fmt.Errorf("not tried again for another %s: %w", left.Round(time.Second), trouble)
	}
	if !conflict {
		return nil
	}
	lease, err := l.client.Get(ctx, l.meta.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		l.take(nil)
	case err != nil:
		err = fmt.Errorf("read lease %s: %w", l.name(), err)
		l.failed(err)
		return err
	default:
		l.take(lease)
	}
	return l.changed()
}

// known says whether there is a lease, as far as is known.
func (l *lock) known() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.latest != nil
}

// wrote takes in a write of our own.
func (l *lock) wrote(lease *coordination.Lease, begun time.Time) {
	l.take(lease)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written, l.foreign, l.pause, l.trouble = begun, false, 0, nil
}

// failed makes the next write wait, unless the lease is held: a thousand agents
// whose writes fail must not hammer the API server.
func (l *lock) failed(err error) {
	l.mu.Lock()
	l.pause = min(max(2*l.pause, firstPause), longestPause)
	l.again = time.Now().Add(wait.Jitter(l.pause, 0.5))
	l.trouble = err
	l.mu.Unlock()
	l.report(err)
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
	others := lease != nil && holder(lease) != l.identity
	l.mu.Lock()
	l.latest, l.gone, l.conflict = lease, time.Time{}, false
	if lease != nil {
		l.again, l.trouble = time.Time{}, nil // Things move on.
	}
	if others && holder(lease) != "" {
		l.foreign = true
	}
	l.mu.Unlock()
	if others {
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

func holder(lease *coordination.Lease) string {
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}
