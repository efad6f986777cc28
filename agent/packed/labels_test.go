// SPDX-License-Identifier: Apache-2.0

package packed_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/agent/packed"
)

// randomLabels are of few names and values, so that many have something in common.
func randomLabels(r *rand.Rand) labels.Labels {
	var ls []labels.Label
	for _, name := range []string{"__name__", "a", "instance", "job", "le", "zone"} {
		switch n := r.IntN(20); {
		case n < 6 && name != "__name__":
		case n == 6:
			ls = append(ls, labels.Label{Name: name, Value: strings.Repeat("long", 80*r.IntN(3))}) // Empty, too.
		default:
			ls = append(ls, labels.Label{Name: name, Value: fmt.Sprint("a value of some length, ", r.IntN(4))})
		}
	}
	return labels.New(ls...)
}

// TestPack holds that labels are what was packed, however alike they are.
func TestPack(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		var p packed.Packer
		var all []labels.Labels
		var small []packed.Labels
		for range 300 {
			ls := randomLabels(r)
			if r.IntN(100) == 0 {
				p.Reset()
			}
			all, small = append(all, ls), append(small, p.Pack(ls))
		}
		for i := range all {
			wantLabels(t, small[i], all[i])
			j := r.IntN(len(all))
			if want := labels.Equal(all[i], all[j]); small[i].Are(all[j]) != want || packed.Equal(small[i], small[j]) != want ||
				packed.Equal(small[i], packed.Of(all[j])) != want {
				t.Errorf("%s and %s: are they equal? %v, %v, %v", all[i], all[j],
					small[i].Are(all[j]), packed.Equal(small[i], small[j]), packed.Equal(small[i], packed.Of(all[j])))
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func wantLabels(t *testing.T, got packed.Labels, want labels.Labels) {
	t.Helper()
	var b labels.ScratchBuilder
	if !labels.Equal(got.Labels(), want) || !labels.Equal(got.With(&b), want) || got.String() != want.String() || got.Hash(&b) != want.Hash() {
		t.Errorf("got %s, want %s", got, want)
	}
	var one, other []labels.Label
	got.Range(func(l labels.Label) { one = append(one, l) })
	want.Range(func(l labels.Label) { other = append(other, l) })
	if !slices.Equal(one, other) {
		t.Errorf("Range has %v, want %v", one, other)
	}
	for _, name := range []string{"__name__", "a", "le", "zone", "none"} {
		if got.Get(name) != want.Get(name) {
			t.Errorf("%s of %s is %q", name, want, got.Get(name))
		}
	}
	if got.IsEmpty() != want.IsEmpty() {
		t.Errorf("%s is empty: %v", want, got.IsEmpty())
	}
}

func FuzzPack(f *testing.F) {
	f.Add("job", "a", "job", "b", "le", "")
	f.Add("", "", "\xff", strings.Repeat("a", 300), "\xff", strings.Repeat("b", 300))
	f.Fuzz(func(t *testing.T, n1, v1, n2, v2, n3, v3 string) {
		var p packed.Packer
		common := labels.Label{Name: "common", Value: strings.Repeat("c", 400)}
		for _, ls := range [][]labels.Label{
			{common, {Name: n1, Value: v1}},
			{common, {Name: n1, Value: v2}},
			{{Name: n2, Value: v1}},
			{{Name: n1, Value: v3}, {Name: n3, Value: v1}},
			{common, {Name: n1, Value: v3}, {Name: n3, Value: v1}},
			{common, {Name: n1, Value: v1}, {Name: n3, Value: v2}},
		} {
			want := labels.New(ls...)
			if got := p.Pack(want); !labels.Equal(got.Labels(), want) {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	})
}

func TestNoLabels(t *testing.T) {
	var p packed.Packer
	for _, l := range []packed.Labels{{}, packed.Of(labels.EmptyLabels()), p.Pack(labels.EmptyLabels())} {
		wantLabels(t, l, labels.EmptyLabels())
		if !l.Are(labels.EmptyLabels()) || l.Are(labels.FromStrings("a", "b")) || !packed.Equal(l, packed.Labels{}) {
			t.Error("no labels are not equal to none")
		}
	}
}

// containers exposes what the kubelet says of containers: families one after the other, in each all containers.
func containers(families, n int) []labels.Labels {
	var all []labels.Labels
	for family := range families {
		for c := range n {
			id := fmt.Sprintf("%064x", c)
			all = append(all, labels.FromStrings("__name__", fmt.Sprintf("container_something_number_%02d_total", family),
				"container", fmt.Sprint("container-", c), "id", "/kubepods.slice/kubepods-burstable.slice/cri-containerd-"+id+".scope",
				"image", "mcr.microsoft.com/oss/kubernetes/something@sha256:"+id, "instance", "10.0.0.1:10250", "job", "kubelet",
				"name", id, "namespace", "kube-system", "pod", fmt.Sprint("pod-", c, "-x7k2p")))
		}
	}
	return all
}

// TestPackedIsSmall measures what is left of labels when only their packed form is kept.
func TestPackedIsSmall(t *testing.T) {
	all := containers(40, 50)
	plain := 0
	for _, ls := range all {
		plain += int(ls.ByteSize())
	}
	kept := make([]packed.Labels, len(all))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var p packed.Packer
	for i, ls := range containers(40, 50) {
		kept[i] = p.Pack(ls)
	}
	p.Reset()
	runtime.GC()
	runtime.ReadMemStats(&after)
	took := int(after.HeapAlloc - before.HeapAlloc)
	t.Logf("%d series: %d bytes each in place of %d", len(all), took/len(all), plain/len(all))
	if took > plain/4 {
		t.Errorf("%d bytes a series, want a quarter of %d at most", took/len(all), plain/len(all))
	}
	runtime.KeepAlive(kept)
	runtime.KeepAlive(all)
}

// TestTheSameNamesShareABase: families whose labels are of different names take turns, as those of histograms do, and of each
// kind all series are kept as how they differ from one.
func TestTheSameNamesShareABase(t *testing.T) {
	var p packed.Packer
	first := map[string]packed.Base{}
	for i := range 20 {
		for _, kind := range []string{"le", "quantile", "zone"} {
			got := p.Pack(labels.FromStrings("__name__", fmt.Sprintf("a_%d", i), "instance", "10.0.0.1:10250", "job", "kubelet", kind, strings.Repeat("a", i))).Base()
			if i == 0 {
				first[kind] = got
			}
			if got != first[kind] {
				t.Errorf("series %d with the label %s has another base than the first one", i, kind)
			}
		}
	}
	if first["le"] == first["zone"] {
		t.Error("labels of different names have the same base")
	}
}

// How long labels take to be packed and to be looked through, beside the plain ones:
//
//	go test -run '^$' -bench . ./agent/packed
func BenchmarkPack(b *testing.B) {
	all := containers(40, 50)
	b.ReportAllocs()
	var p packed.Packer
	for i := range b.N {
		p.Pack(all[i%len(all)])
	}
}

func BenchmarkRange(b *testing.B) {
	all := containers(40, 50)
	var p packed.Packer
	kept := make([]packed.Labels, len(all))
	for i, ls := range all {
		kept[i] = p.Pack(ls)
	}
	n := 0
	b.Run("packed", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			kept[i%len(kept)].Range(func(l labels.Label) { n += len(l.Value) })
		}
	})
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			all[i%len(all)].Range(func(l labels.Label) { n += len(l.Value) })
		}
	})
}
