// SPDX-License-Identifier: Apache-2.0

package targets

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	coordination "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

const (
	answerTime = 10 * time.Millisecond // of the API server
	watchDelay = 50 * time.Millisecond
)

// api keeps one Lease as an API server does: a write needs the version that it
// is made from, and watches tell of it.
type api struct {
	mu      sync.Mutex
	lease   *coordination.Lease
	version int
	views   []*view
	writes  int

	forbidden bool // to write
}

// view is the API as one client sees it.
type view struct {
	coordinationclient.LeaseInterface // nil: what is not below is not used

	api     *api
	cut     bool // the API server cannot be reached; guarded by api.mu
	watcher *watch.RaceFreeFakeWatcher
}

var errCut = errors.New("no route to host")

func (a *api) view() *view {
	v := &view{api: a}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.views = append(a.views, v)
	return v
}

// set makes lease what is stored, as kubectl edit does; nil deletes it.
func (a *api) set(change func(*coordination.Lease) *coordination.Lease) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.store(change(a.lease.DeepCopy()))
}

// store is called with mu held.
func (a *api) store(lease *coordination.Lease) *coordination.Lease {
	a.version++
	kind, told := watch.Modified, lease
	switch {
	case lease == nil:
		kind, told = watch.Deleted, a.lease
	case a.lease == nil:
		kind = watch.Added
		lease.UID = types.UID("uid-" + strconv.Itoa(a.version))
	}
	if lease != nil {
		lease.ResourceVersion = strconv.Itoa(a.version)
	}
	a.lease = lease
	for _, v := range a.views {
		if v.watcher != nil {
			v.watcher.Action(kind, told.DeepCopy())
		}
	}
	return lease.DeepCopy()
}

func (a *api) holder() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lease == nil {
		return ""
	}
	return holder(a.lease)
}

// reachable says whether the client gets through.
func (v *view) reachable(ok bool) {
	v.api.mu.Lock()
	defer v.api.mu.Unlock()
	v.cut = !ok
	if v.cut && v.watcher != nil {
		v.watcher.Stop()
		v.watcher = nil
	}
}

func (v *view) Get(context.Context, string, metav1.GetOptions) (*coordination.Lease, error) {
	time.Sleep(answerTime)
	v.api.mu.Lock()
	defer v.api.mu.Unlock()
	switch {
	case v.cut:
		return nil, errCut
	case v.api.lease == nil:
		return nil, apierrors.NewNotFound(coordination.Resource("leases"), "lease")
	}
	return v.api.lease.DeepCopy(), nil
}

func (v *view) Create(_ context.Context, lease *coordination.Lease, _ metav1.CreateOptions) (*coordination.Lease, error) {
	time.Sleep(answerTime)
	v.api.mu.Lock()
	defer v.api.mu.Unlock()
	v.api.writes++
	switch {
	case v.cut:
		return nil, errCut
	case v.api.forbidden:
		return nil, apierrors.NewForbidden(coordination.Resource("leases"), lease.Name, errors.New("no RBAC"))
	case *lease.Spec.LeaseTransitions < 0:
		return nil, apierrors.NewInvalid(coordination.SchemeGroupVersion.WithKind("Lease").GroupKind(), lease.Name, nil)
	case v.api.lease != nil:
		return nil, apierrors.NewAlreadyExists(coordination.Resource("leases"), lease.Name)
	}
	return v.api.store(lease.DeepCopy()), nil
}

func (v *view) Update(_ context.Context, lease *coordination.Lease, _ metav1.UpdateOptions) (*coordination.Lease, error) {
	time.Sleep(answerTime)
	v.api.mu.Lock()
	defer v.api.mu.Unlock()
	v.api.writes++
	switch {
	case v.cut:
		return nil, errCut
	case v.api.forbidden:
		return nil, apierrors.NewForbidden(coordination.Resource("leases"), lease.Name, errors.New("no RBAC"))
	case *lease.Spec.LeaseTransitions < 0:
		return nil, apierrors.NewInvalid(coordination.SchemeGroupVersion.WithKind("Lease").GroupKind(), lease.Name, nil)
	case v.api.lease == nil:
		return nil, apierrors.NewNotFound(coordination.Resource("leases"), lease.Name)
	case v.api.lease.ResourceVersion != lease.ResourceVersion:
		return nil, apierrors.NewConflict(coordination.Resource("leases"), lease.Name, errors.New("the object has been modified"))
	}
	return v.api.store(lease.DeepCopy()), nil
}

func (v *view) List(context.Context, metav1.ListOptions) (*coordination.LeaseList, error) {
	v.api.mu.Lock()
	defer v.api.mu.Unlock()
	if v.cut {
		return nil, errCut
	}
	list := &coordination.LeaseList{ListMeta: metav1.ListMeta{ResourceVersion: strconv.Itoa(v.api.version)}}
	if v.api.lease != nil {
		list.Items = append(list.Items, *v.api.lease.DeepCopy())
	}
	return list, nil
}

func (v *view) Watch(_ context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	v.api.mu.Lock()
	defer v.api.mu.Unlock()
	if v.cut {
		return nil, errCut
	}
	if opts.SendInitialEvents != nil {
		return nil, apierrors.NewInvalid(coordination.SchemeGroupVersion.WithKind("Lease").GroupKind(), "", nil)
	}
	v.watcher = watch.NewRaceFreeFake()
	return late(v.watcher), nil
}

// late is the watch as it arrives over a network.
func late(w watch.Interface) watch.Interface {
	out := make(chan watch.Event)
	proxy := watch.NewProxyWatcher(out)
	go func() {
		defer close(out)
		defer w.Stop()
		for {
			var event watch.Event
			var ok bool
			select {
			case event, ok = <-w.ResultChan():
			case <-proxy.StopChan():
			}
			if !ok {
				return
			}
			select {
			case <-time.After(watchDelay):
			case <-proxy.StopChan():
				return
			}
			select {
			case out <- event:
			case <-proxy.StopChan():
				return
			}
		}
	}()
	return proxy
}
