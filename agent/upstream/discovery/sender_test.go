// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/discovery/targetgroup"
	"github.com/stretchr/testify/require"
)

// groups sends what it is given.
type groups chan []*targetgroup.Group

func (g groups) Run(ctx context.Context, up chan<- []*targetgroup.Group) {
	for {
		select {
		case <-ctx.Done():
			return
		case all := <-g:
			up <- all
		}
	}
}

// An update is handed over soon after a quiet hour, and those that come without a
// pause are the longer waited for, up to updatert.
func TestUpdatesAfterQuietAndInThrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		reg := prometheus.NewRegistry()
		m := NewManager(ctx, promslog.NewNopLogger(), reg, NewTestMetrics(t, reg), Updatert(2*time.Second))
		require.NotNil(t, m)
		ended := make(chan error, 1)
		go func() { ended <- m.Run() }()
		source := make(groups)
		m.StartCustomProvider(ctx, "job", source)
		for range 3 {
			time.Sleep(time.Hour)
			sent := time.Now()
			source <- []*targetgroup.Group{{Source: sent.String()}}
			<-m.SyncCh()
			require.LessOrEqual(t, time.Since(sent), 200*time.Millisecond)
		}

		var feeding sync.WaitGroup
		feeding.Go(func() {
			for ctx.Err() == nil {
				select {
				case source <- []*targetgroup.Group{{Source: "same"}}:
					time.Sleep(time.Millisecond)
				case <-ctx.Done():
				}
			}
		})
		updates := 0
		for throng := time.Now(); time.Since(throng) < time.Minute; updates++ {
			<-m.SyncCh()
		}
		require.Greater(t, updates, 20)
		require.Less(t, updates, 60)

		stop()
		for range m.SyncCh() { // It is closed.
		}
		require.ErrorIs(t, <-ended, context.Canceled)
		feeding.Wait()
	})
}
