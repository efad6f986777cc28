// SPDX-License-Identifier: Apache-2.0

package packed_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/packed"
)

func exposed(target, i int) labels.Labels {
	return labels.FromStrings("__name__", fmt.Sprintf("http_request_duration_seconds_%03d_bucket", i/12), "instance", fmt.Sprintf("10.0.0.%d:9090", target),
		"job", "kubernetes-pods", "le", strconv.Itoa(i%12), "namespace", "monitoring", "pod", fmt.Sprintf("torchbearer-%d-x7k2p", target))
}

// TestDictionarySharesMemory: of targets that expose the same metrics each series after the first target's takes two pointers.
func TestDictionarySharesMemory(t *testing.T) {
	const targets, series = 50, 600
	kept := make([]packed.Labels, 0, targets*series)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var d packed.Dictionary
	for target := range targets {
		p := packed.Packer{Dictionary: &d}
		for i := range series {
			kept = append(kept, p.Pack(exposed(target, i)))
		}
		if target%20 == 19 {
			d.Forget() // What is asked for again after it is known all the same.
		}
	}
	d.Forget()
	d.Forget()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if took := float64(after.HeapAlloc-before.HeapAlloc) / float64(len(kept)); took > 24 {
		t.Errorf("%.1f bytes a series, want 24 at most", took)
	}
	for i, l := range kept {
		if want := exposed(i/series, i%series); !labels.Equal(l.Labels(), want) {
			t.Fatalf("%s became %s", want, l)
		}
	}
}

// TestDictionaryForgets: what nobody keeps is let go of, however much comes.
func TestDictionaryForgets(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var d packed.Dictionary
	for i := range 100_000 {
		p := packed.Packer{Dictionary: &d}
		p.Pack(labels.FromStrings("__name__", "a", "id", strings.Repeat("x", 100)))
		p.Pack(labels.FromStrings("__name__", "a", "id", fmt.Sprintf("%050d", i)))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if took := int64(after.HeapAlloc) - int64(before.HeapAlloc); took > 4<<20 {
		t.Errorf("%d bytes are kept", took)
	}
	runtime.KeepAlive(&d)
}

// TestDictionaryOfMany: values of any length, from many Packers at once, come out as they went in.
func TestDictionaryOfMany(t *testing.T) {
	var d packed.Dictionary
	var packing sync.WaitGroup
	for seed := range uint64(4) {
		packing.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0))
			p := packed.Packer{Dictionary: &d}
			for range 20_000 {
				size := random.IntN(40)
				if random.IntN(100) == 0 {
					size = random.IntN(20_000)
				}
				want := labels.FromStrings("__name__", strings.Repeat(string(rune('a'+random.IntN(26))), 1+size), "a",
					strings.Repeat("long", 1+size), "b", strings.Repeat("longer", 1+size))
				if got := p.Pack(want); !labels.Equal(got.Labels(), want) || !got.Are(want) {
					t.Errorf("%s became %s", want, got)
					return
				}
				if random.IntN(1000) == 0 {
					d.Forget()
				}
			}
		})
	}
	packing.Wait()
}
