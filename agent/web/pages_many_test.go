// SPDX-License-Identifier: Apache-2.0

package web

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// quick says whether an answer comes within the time that pages are promised in: the best of several, as the machine has
// other work.
func quick(t *testing.T, h http.Handler, path string) {
	t.Helper()
	best := time.Hour
	for deadline := time.Now().Add(patience); best > 300*time.Millisecond && time.Now().Before(deadline); {
		begin := time.Now()
		if body := visit(t, h, path); len(body) > 1<<20 {
			t.Fatalf("%s has %d bytes", path, len(body))
		}
		best = min(best, time.Since(begin))
	}
	if best > 300*time.Millisecond {
		t.Errorf("%s takes %s", path, best)
	}
}

func TestManyTargets(t *testing.T) {
	w := newWorld()
	for i := range 10_000 {
		w.active["pods"] = append(w.active["pods"], newTarget("pods", fmt.Sprintf("10.%d.%d.1:80", i/250, i%250), nil, "app", "shop"))
	}
	for i := range 50_000 {
		w.dropped["pods"] = append(w.dropped["pods"], newDropped("pods", fmt.Sprintf("10.%d.%d.2:80", i/250, i%250)))
	}
	w.active["pods"][7000].Report(time.Now(), time.Second, errors.New("context deadline exceeded"))
	h := newTestServer(t, w.options(t)).Handler()
	for _, path := range []string{
		"/", "/targets", "/targets?page=90", "/targets?q=nobody", "/targets?health=down", "/service-discovery",
		"/service-discovery?page=900", "/service-discovery?q=nobody", "/service-discovery?job=pods&state=dropped&q=10.199",
	} {
		quick(t, h, path)
	}
	if body := visit(t, h, "/targets"); strings.Index(body, "context deadline exceeded") > strings.Index(body, `class="state good"`) && strings.Contains(body, `class="state good"`) {
		t.Error("the target in trouble does not come first")
	}
	w.relabelled = 0
	visit(t, h, "/service-discovery?page=3")
	if w.relabelled == 0 || w.relabelled > discoveredAPage {
		t.Errorf("%d targets were taken through the rules for one page", w.relabelled)
	}
}

func TestSearchEndsInTime(t *testing.T) {
	var list []discovered
	for range 1000 {
		list = append(list, discovered{"pods", newDropped("pods", "10.0.0.1:80"), true})
	}
	b := newBuilder()
	if hits, searched := search(list, "10.0.0.1", time.Now().Add(-time.Second), b); searched != searchStep-1 || len(hits) != searched {
		t.Errorf("%d hits in %d searched", len(hits), searched)
	}
	if hits, searched := search(list, "POD-10.0.0.1", time.Now().Add(time.Hour), b); searched != 1000 || len(hits) != 1000 {
		t.Errorf("%d hits in %d searched", len(hits), searched)
	}
}

// pieces takes an answer, and may fail.
type pieces struct {
	http.ResponseWriter

	largest, writes int
	fails           bool
}

func (p *pieces) Write(b []byte) (int, error) {
	p.writes++
	if p.largest = max(p.largest, len(b)); p.fails {
		return 0, errors.New("the client went away")
	}
	return p.ResponseWriter.Write(b)
}

// Thousands of dropped targets, as text, would be more than a small agent has room for.
func TestTheListOfTargetsIsNeverHeldWhole(t *testing.T) {
	w := newWorld()
	for i := range 5000 {
		w.dropped["pods"] = append(w.dropped["pods"], newDropped("pods", fmt.Sprintf("10.%d.%d.2:80", i/250, i%250)))
	}
	h := newTestServer(t, w.options(t)).Handler()
	answer := httptest.NewRecorder()
	whole := &pieces{ResponseWriter: answer}
	h.ServeHTTP(whole, httptest.NewRequest(http.MethodGet, "/api/v1/targets", http.NoBody))
	var told struct {
		Data struct{ DroppedTargets []struct{ ScrapePool string } }
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &told); err != nil || len(told.Data.DroppedTargets) != 5002 || whole.largest > 64<<10 {
		t.Errorf("%d targets, at most %d bytes at once: %v", len(told.Data.DroppedTargets), whole.largest, err)
	}

	gone := &pieces{ResponseWriter: httptest.NewRecorder(), fails: true}
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) || gone.writes != 1 {
			t.Errorf("for a client that is gone: %v after %d writes", err, gone.writes)
		}
	}()
	h.ServeHTTP(gone, httptest.NewRequest(http.MethodGet, "/api/v1/targets", http.NoBody))
}
