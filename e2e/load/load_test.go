// SPDX-License-Identifier: Apache-2.0

package load

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, options Options) *Fleet {
	t.Helper()
	f, err := Open(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// get asks with the transport's own gzip.
func get(t *testing.T, address string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestScrapes(t *testing.T) {
	f := open(t, Options{Targets: 2, Series: 2, Labels: `environment="dev"`})
	first := "http://" + f.Addresses()[0] + "/metrics"
	get(t, first)
	_, body := get(t, first)
	want := "# HELP load_value The number of the scrape.\n# TYPE load_value gauge\n" +
		"load_value{series=\"0\",environment=\"dev\"} 2\nload_value{series=\"1\",environment=\"dev\"} 2\n"
	if diff := cmp.Diff(want, body); diff != "" {
		t.Errorf("second scrape (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]int{2, 0, 0, 4, 0}, []int{f.Answered(0), f.Answered(1), f.Fewest(), f.Samples(), f.Broken()}); diff != "" {
		t.Errorf("answered by each, fewest, samples, broken (-want +got):\n%s", diff)
	}
}

func TestPause(t *testing.T) {
	f := open(t, Options{Targets: 2})
	f.Pause()
	for i, address := range f.Addresses() {
		if err := f.Settled(); err == nil {
			t.Errorf("settled with %d of 2 targets asked", i)
		}
		if status, _ := get(t, "http://"+address); status != http.StatusServiceUnavailable {
			t.Errorf("a paused target answered %d", status)
		}
	}
	if err := f.Settled(); err != nil || f.Samples() != 0 {
		t.Errorf("after the pause: %v, %d samples", err, f.Samples())
	}
}

func TestList(t *testing.T) {
	f := open(t, Options{Targets: 2})
	if _, body := get(t, f.List()); !strings.Contains(body, `"`+strings.Join(f.Addresses(), `","`)+`"`) {
		t.Errorf("the list is %s", body)
	}
}

func TestChurn(t *testing.T) {
	options := Options{Churn: 2, Life: 2, Labels: `pod="a"`}
	f := open(t, options)
	address := "http://" + f.Addresses()[0]
	for k := 1; k <= 3; k++ {
		_, body := get(t, address)
		for j := range options.Churn {
			want := fmt.Sprintf("\nload_churn{series=\"%d\",since=\"%d\",pod=\"a\"} %d\n", j, options.Churning(j, k), k)
			if !strings.Contains(body, want) {
				t.Errorf("scrape %d lacks %q:\n%s", k, want, body)
			}
		}
		if k == 2 {
			f.Cut(time.Time{})
		}
	}
	f.Cut(time.Now())
	if f.Each() != 3 || f.Samples() != 9 {
		t.Errorf("%d samples in each answer, %d in all", f.Each(), f.Samples())
	}
	var last []bool
	for _, s := range f.Scrapes(0) {
		last = append(last, s.Last)
	}
	// The third one was answered too long before the second kill.
	if diff := cmp.Diff([]bool{false, true, false}, last); diff != "" {
		t.Errorf("scrapes in flight at a kill (-want +got):\n%s", diff)
	}
	if options.Churning(0, 1) == options.Churning(0, 2) || options.Churning(0, 2) != options.Churning(0, 3) {
		t.Error("a series does not live for two scrapes")
	}
}

// TestSpread: values differ by series, and the rest is the number of the scrape.
func TestSpread(t *testing.T) {
	f := open(t, Options{Series: 1000, Churn: 10, Spread: true})
	address := "http://" + f.Addresses()[0]
	get(t, address)
	_, body := get(t, address)
	seen := map[string]bool{}
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		text := strings.TrimSpace(line[strings.LastIndexByte(line, ' '):])
		value, err := strconv.Atoi(text)
		if err != nil || value%Step != 2 {
			t.Errorf("%s is no sample of scrape 2: %v", line, err)
		}
		seen[text] = true
	}
	if len(seen) < 1000 {
		t.Errorf("of 1010 values %d are different", len(seen))
	}
}

func TestExemplars(t *testing.T) {
	f := open(t, Options{Exemplars: true})
	_, body := get(t, "http://"+f.Addresses()[0])
	if !strings.Contains(body, "load_value{series=\"0\"} 1 # {trace_id=\"") || !strings.HasSuffix(body, "\n# EOF\n") {
		t.Errorf("it is no OpenMetrics with exemplars:\n%s", body)
	}
}

// TestExporters: every form of answer is what client libraries write, of as many samples as are asked for, each with the number
// of the scrape; and gauges change in more than that.
func TestExporters(t *testing.T) {
	for _, series := range []int{1, 3, 30, 41, 500} {
		f := open(t, Options{Series: series, Exporters: true})
		address := "http://" + f.Addresses()[0]
		first := exported(t, address, 1)
		second := exported(t, address, 2)
		if len(second) != series || f.Each() != series {
			t.Errorf("%d series are %d samples, and %d in a count of them", series, len(second), f.Each())
		}
		changed := 0
		for name, value := range second {
			if value-1 != first[name] {
				changed++
			}
		}
		if series == 500 && (changed < 100 || changed > 200) {
			t.Errorf("of 500 samples %d differ in more than the number of the scrape", changed)
		}
	}
}

// exported reads an answer, whose samples have to be of scrape k, by name and labels.
func exported(t *testing.T, address string, k int64) map[string]float64 {
	t.Helper()
	_, body := get(t, address)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	if _, err := parser.TextToMetricFamilies(strings.NewReader(body)); err != nil {
		t.Fatalf("it is no exposition: %v", err)
	}
	samples := map[string]float64{}
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		value, err := strconv.ParseFloat(text, 64)
		if err != nil || value != math.Trunc(value) || int64(value)%Step != k || !strings.HasPrefix(name, Prefix) {
			t.Errorf("%q is no sample of scrape %d: %v", line, k, err)
		}
		samples[name] = value
	}
	return samples
}
