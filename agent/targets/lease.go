// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/go-logr/logr"
	coordination "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/klog/v2"
)

const (
	// electionTick is how often an agent looks whether the lease is free. That
	// costs nothing but the agent's own time: it looks into memory.
	electionTick = 500 * time.Millisecond
	// handOverGrace bounds what a stopping agent does for the lease: to wait for
	// scrapes being written, and to give it away.
	handOverGrace = time.Second
	// syncPatience is how long the API server may take to say whether there is a
	// lease before it is told.
	syncPatience = 10 * time.Second
	// reportPause is between two lines in the log about what is wrong.
	reportPause = 5 * time.Minute
)

// lease makes this agent one of those that may hold the Lease, and tells when it
// does.
type lease struct {
	lock   *lock
	fence  *fence
	logger log.Logger
	gained func()              // the fence is open
	lost   func(stopping bool) // the fence is closed, and the lease given away or left to run out

	mu     sync.Mutex // guards the fields below
	holder string     // as it was logged last
	synced bool       // it is known whether there is a lease
	watch  error      // why the watch does not work
	told   time.Time  // when trouble was logged last
}

// run takes part in the election until ctx is done, and gives the lease away if
// it is held then, closing the fence before.
func (l *lease) run(ctx context.Context) {
	ctx = klog.NewContext(ctx, logr.Discard()) // What matters is logged here.
	informer := cache.NewSharedIndexInformer(l.watched(), &coordination.Lease{}, 0, nil)
	handlers := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { l.see(obj) },
		UpdateFunc: func(_, obj any) { l.see(obj) },
		DeleteFunc: func(any) { l.lock.missed(); l.announce() },
	}
	if _, err := informer.AddEventHandler(handlers); err != nil {
		level.Error(l.logger).Log("msg", "the lease cannot be watched; cluster-scoped jobs are not scraped here", "err", err)
		return
	}
	if err := informer.SetWatchErrorHandlerWithContext(func(context.Context, *cache.Reflector, error) {}); err != nil {
		level.Error(l.logger).Log("msg", "errors of watching the lease are logged twice", "err", err)
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { informer.RunWithContext(ctx) })
	if !l.sync(ctx, informer.HasSynced) {
		return
	}
	for ctx.Err() == nil {
		l.term(ctx)
	}
}

// sync waits until it is known whether there is a lease.
func (l *lease) sync(ctx context.Context, synced func() bool) bool {
	late := time.AfterFunc(syncPatience, func() { l.report(errors.New("the API server has not said yet whether there is one")) })
	defer late.Stop()
	if !cache.WaitForCacheSync(ctx.Done(), synced) {
		return false
	}
	l.mu.Lock()
	l.synced = true
	l.mu.Unlock()
	if l.lock.known() {
		return true
	}
	// Agents that are new together do not all make one together.
	select {
	case <-time.After(rand.N(electionTick)):
		return true
	case <-ctx.Done():
		return false
	}
}

// watched lists and watches the one object. The library keeps some errors to
// itself, so they are taken where they come.
func (l *lease) watched() *cache.ListWatch {
	only := fields.OneTermEqualSelector("metadata.name", l.lock.meta.Name).String()
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			opts.FieldSelector = only
			list, err := l.lock.client.List(ctx, opts)
			return list, l.watchFailed(ctx, err)
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			opts.FieldSelector = only
			events, err := l.lock.client.Watch(ctx, opts)
			return events, l.watchFailed(ctx, err)
		},
	}
}

// term stands for election once, and if elected holds the lease until it is
// lost or ctx is done.
func (l *lease) term(ctx context.Context) {
	leading := make(chan struct{})
	vote := &ballot{lock: l.lock}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            vote,
		LeaseDuration:   l.lock.duration,
		RenewDeadline:   l.lock.duration - electionTick,
		RetryPeriod:     electionTick,
		ReleaseOnCancel: true,
		Name:            l.lock.name(),
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { close(leading) },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		// The durations were checked; there is nothing else to be wrong.
		level.Error(l.logger).Log("msg", "no election; cluster-scoped jobs are not scraped here", "err", err)
		<-ctx.Done()
		return
	}
	electing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		elector.Run(electing)
	}()
	held := false
	select {
	case <-leading:
		held = true
		if err := l.hold(ctx, ended); err != nil {
			vote.void.Store(true)
			level.Warn(l.logger).Log("msg", "the lease is left to run out", "err", err)
		}
	case <-ctx.Done():
	}
	stop()
	select {
	case <-ended:
	case <-time.After(handOverGrace):
		// The API server does not answer: the lease runs out by itself. The
		// goroutine ends with its request.
		vote.void.Store(true)
	}
	if held {
		l.lost(ctx.Err() != nil) // Takes its time: nobody waits for the lease meanwhile.
	}
}

// hold opens the fence until the lease is lost or ctx is done, and closes it. An
// error says that the lease must not be given away.
func (l *lease) hold(ctx context.Context, ended <-chan struct{}) error {
	l.fence.raise()
	l.announce()
	l.gained()
	for held := true; held; {
		timer := time.NewTimer(l.fence.left())
		select {
		case <-ctx.Done():
			held = false
		case <-ended:
			held = false
		case <-l.lock.usurped:
			holding, _ := l.lock.state()
			held = holding == l.lock.identity || holding == "" // Emptied or deleted is not taken: it is written again.
		case <-timer.C:
			held = l.fence.left() > 0
		}
		timer.Stop()
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), handOverGrace)
	defer cancel()
	err := l.fence.shut(grace)
	if ctx.Err() == nil {
		_, trouble := l.lock.state()
		level.Warn(l.logger).Log("msg", "lost the lease; cluster-scoped jobs are left to whoever takes it", "lease", l.lock.name(), "err", trouble)
	}
	return err
}

func (l *lease) see(obj any) {
	if seen, ok := obj.(*coordination.Lease); ok {
		l.lock.see(seen)
		l.mu.Lock()
		l.watch = nil
		l.mu.Unlock()
		l.announce()
	}
}

// announce logs a change of the holder.
func (l *lease) announce() {
	holding, _ := l.lock.state()
	l.mu.Lock()
	known := l.holder == holding
	l.holder = holding
	l.mu.Unlock()
	if known {
		return
	}
	switch holding {
	case "":
		level.Info(l.logger).Log("msg", "nobody holds the lease", "lease", l.lock.name())
	case l.lock.identity:
		level.Info(l.logger).Log("msg", "holding the lease: cluster-scoped jobs are scraped here", "lease", l.lock.name())
	default:
		level.Info(l.logger).Log("msg", "cluster-scoped jobs are scraped by the holder of the lease", "lease", l.lock.name(), "holder", holding)
	}
}

// watchFailed notes why nothing is known of the lease, and returns err.
func (l *lease) watchFailed(ctx context.Context, err error) error {
	if ctx.Err() != nil || err != nil && (apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsInvalid(err)) {
		return err // The library lists anew.
	}
	l.mu.Lock()
	l.watch = err
	l.mu.Unlock()
	if err != nil {
		l.report(err)
	}
	return err
}

// report logs what is wrong with reading or writing the lease, not oftener than
// people want to read it.
func (l *lease) report(err error) {
	l.mu.Lock()
	known := time.Since(l.told) < reportPause
	if !known {
		l.told = time.Now()
	}
	l.mu.Unlock()
	if !known {
		level.Warn(l.logger).Log("msg", "trouble with the lease; while nobody can take it, nobody scrapes the cluster-scoped jobs", "lease", l.lock.name(), "err", l.explain(err))
	}
}

// explain adds what mends it.
func (l *lease) explain(err error) error {
	switch ns := l.lock.meta.Namespace; {
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w; the agent's ServiceAccount needs a Role in namespace %s with {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [get, list, watch, create, update]}", err, ns)
	case apierrors.IsNotFound(err):
		return fmt.Errorf("%w; is there a namespace %s? --lease.namespace names another", err, ns)
	}
	return err
}

// trouble is why nobody may hold the lease as far as this agent knows, or nil.
func (l *lease) trouble() error {
	l.mu.Lock()
	err, synced := l.watch, l.synced
	l.mu.Unlock()
	if err == nil && !synced {
		return errors.New("the API server has not said yet whether there is one")
	}
	if err == nil {
		_, err = l.lock.state()
	}
	if err == nil {
		return nil
	}
	return l.explain(err)
}
