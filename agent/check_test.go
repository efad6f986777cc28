// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"torchbearer/agent/rehearsal"
	"torchbearer/agent/status"
)

// updateGolden writes the golden files: go test ./agent -run Check -update.
var updateGolden = flag.Bool("update", false, "write the golden files anew")

const exposition = `# TYPE app_requests_total counter
app_requests_total{path="/",code="200"} 7
app_requests_total{path="/cart",code="200"} 8
# TYPE app_temperature gauge
app_temperature 21
`

// neighbourhood is what the configs of testdata/check name.
type neighbourhood struct {
	names  *strings.Replacer // NAME to address
	back   *strings.Replacer
	writes atomic.Int64 // requests to the receiver
	bodies atomic.Int64 // bytes in them, more than an empty request has
}

func newNeighbourhood(t *testing.T) *neighbourhood {
	t.Helper()
	n := &neighbourhood{}
	server := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "http://")
	}
	says := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			_, _ = io.WriteString(w, text)
		}
	}
	secure := httptest.NewUnstartedServer(says(""))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // Its client is meant to refuse it.
	secure.StartTLS()
	t.Cleanup(secure.Close)
	addresses := map[string]string{
		"TARGET":   server(says(exposition)),
		"SPOOFER":  server(says("app_up{environment=\"dev\"} 1\napp_other 1\n")),
		"BROKEN":   server(says("this is no exposition {{{\n")),
		"DEAD":     "127.0.0.1:1",
		"SECURE":   strings.TrimPrefix(secure.URL, "https://"),
		"RECEIVER": server(n.receive),
	}
	var to, back []string
	for name, address := range addresses {
		to, back = append(to, name, address), append(back, address, name)
	}
	n.names, n.back = strings.NewReplacer(to...), strings.NewReplacer(back...)
	return n
}

// receive answers as the path says.
func (n *neighbourhood) receive(w http.ResponseWriter, r *http.Request) {
	n.writes.Add(1)
	body, _ := io.ReadAll(r.Body)
	n.bodies.Add(int64(max(0, len(body)-4)))
	v2 := strings.Contains(r.Header.Get("Content-Type"), "v2.Request")
	switch r.URL.Path {
	case "/401":
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, "not with %s\x1b[31m", r.Header.Get("Authorization"))
	case "/503":
		http.Error(w, "not now", http.StatusServiceUnavailable)
	case "/page":
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html><script>alert(1)</script>")
	case "/old":
		if v2 {
			http.Error(w, "what is that", http.StatusUnsupportedMediaType)
		}
	case "/write":
		if v2 {
			w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", "0")
		}
	default:
		http.NotFound(w, r)
	}
}

// config writes a config with the addresses in it and returns its path.
func (n *neighbourhood) config(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "torchbearer.yaml")
	write(t, file, n.names.Replace(text))
	return file
}

// check is a report without an agent.
func check(t *testing.T, file string) status.Report {
	t.Helper()
	opts := options(t, t.TempDir())
	opts.ConfigFile = file
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	report, err := CheckAlone(ctx, opts, false, "")
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// settled takes out of a report what differs from run to run.
func settled(r *status.Report) {
	r.Seconds, r.Hash, r.File = 0, "", filepath.Base(r.File)
	for i := range r.Jobs {
		r.Jobs[i].SlowestScrape = 0
	}
	for i := range r.Destinations {
		r.Destinations[i].Seconds = 0
	}
}

func TestCheckReports(t *testing.T) {
	files, err := filepath.Glob("testdata/check/*.yaml")
	if err != nil || len(files) < 12 {
		t.Fatalf("configs to check: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			n := newNeighbourhood(t)
			report := check(t, n.config(t, string(content)))
			if n.bodies.Load() > 0 {
				t.Error("a destination was sent more than an empty request")
			}
			settled(&report)
			var text, encoded bytes.Buffer
			if err := rehearsal.Text(&text, &report); err != nil {
				t.Fatal(err)
			}
			encoder := json.NewEncoder(&encoded)
			encoder.SetIndent("", " ")
			encoder.SetEscapeHTML(false) // Easier to read here.
			if err := encoder.Encode(&report); err != nil {
				t.Fatal(err)
			}
			// Addresses are as long as they are.
			plain := regexp.MustCompile(` {2,}`).ReplaceAllString(n.back.Replace(text.String()), "  ")
			plain = strings.ReplaceAll(plain, filepath.Dir(n.config(t, "")), "")
			name := strings.TrimSuffix(file, ".yaml")
			golden(t, name+".txt", regexp.MustCompile(`/\S*/torchbearer\.yaml`).ReplaceAllString(plain, "torchbearer.yaml"))
			golden(t, name+".json", regexp.MustCompile(`"[^" ]*/torchbearer\.yaml`).ReplaceAllString(n.back.Replace(encoded.String()), `"torchbearer.yaml`))
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *updateGolden {
		write(t, file, got)
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
	for _, secret := range []string{"wrong-password", "abcdef", "\x1b"} {
		if strings.Contains(got, secret) {
			t.Errorf("%s shows %q", file, secret)
		}
	}
}

// TestCheckEndsInTime: what hangs is said to have hung.
func TestCheckEndsInTime(t *testing.T) {
	hang := make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer slow.Close()
	defer close(hang)
	n := newNeighbourhood(t)
	file := n.config(t, `global: {scrape_interval: 5m, scrape_timeout: 4m, external_labels: {clustername: c, environment: e}}
remote_write: [{name: slow, url: "`+slow.URL+`/write", remote_timeout: 4m}]
scrape_configs:
- {job_name: app, static_configs: [{targets: [TARGET, "`+strings.TrimPrefix(slow.URL, "http://")+`"]}]}
`)
	opts := options(t, t.TempDir())
	opts.ConfigFile = file
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	begun := time.Now()
	report, err := CheckAlone(ctx, opts, false, "")
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begun); took > patience {
		t.Errorf("it took %s", took)
	}
	if got := report.Jobs[0].Targets; got.Up != 1 || got.NotAsked != 1 || len(report.CutOff) != 1 {
		t.Errorf("targets are %+v, cut off: %q", got, report.CutOff)
	}
	if got := report.Destinations[0].Verdict; got != status.ProbeUnreachable {
		t.Errorf("the destination is %q", got)
	}
}
