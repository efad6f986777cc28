// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"torchbearer/e2e/process"
	"torchbearer/e2e/receiver"
)

// What `explain --output json` says, as far as these tests read it.
type (
	targetExplained struct {
		Verdict string
		Matches []struct {
			Job, State, URL, Verdict string
			Before, After            map[string]string
			Steps                    []stepExplained
		}
		Jobs []struct {
			Job, By, Verdict string
			Scraped          bool
			Found, Dropped   int
		}
	}
	stepExplained struct {
		Rule    int
		Text    string
		Dropped bool
	}
	ruleExplained struct {
		Rule          int
		Dropped       int64
		Exact         bool
		Metric        int
		Unknown       bool
		Text, Verdict string
	}
	metricExplained struct {
		Verdict string
		Jobs    []struct {
			Job, Verdict         string
			Asked, Samples, Kept int
			SinceStart           struct{ Scraped, Dropped int64 }
			Rules                []ruleExplained
		}
		Destinations []struct {
			Samples, Kept int
			Rules         []ruleExplained
		}
	}
)

// explain runs the command against the agent and returns what it prints.
func (a *agent) explain(t *testing.T, args ...string) string {
	t.Helper()
	code, text := runToEnd(t, append(append([]string{"explain"}, args...), "--url="+a.url)...)
	if code != 0 {
		t.Fatalf("explain %v exits with %d: %s", args, code, text)
	}
	return text
}

func explained[T any](t *testing.T, a *agent, args ...string) (told T) {
	t.Helper()
	text := a.explain(t, append(args, "--output=json")...)
	if err := json.Unmarshal([]byte(text), &told); err != nil {
		t.Fatalf("explain %v: %v in %s", args, err, text)
	}
	return told
}

// leaseOfOther is as much of a Kubernetes API as says that another agent holds the lease, and on which node a pod is.
func leaseOfOther(t *testing.T) (kubeconfig string) {
	t.Helper()
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000000Z")
	const kind = `"apiVersion":"coordination.k8s.io/v1","kind":"Lease",`
	lease := `"metadata":{"name":"torchbearer","namespace":"default","resourceVersion":"1"},` +
		`"spec":{"holderIdentity":"agent-b","leaseDurationSeconds":3600,"acquireTime":"` + now + `","renewTime":"` + now + `","leaseTransitions":1}}`
	events := `{"type":"ADDED","object":{` + kind + lease + "}\n" +
		`{"type":"BOOKMARK","object":{` + kind + `"metadata":{"resourceVersion":"1","annotations":{"k8s.io/initial-events-end":"true"}}}}` + "\n"
	pods := `{"apiVersion":"v1","kind":"PodList","metadata":{},"items":[{"metadata":{"name":"far-1","namespace":"shop"},"spec":{"nodeName":"node-b"}}]}`
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/leases") && r.URL.Query().Has("watch"):
			if r.URL.Query().Has("sendInitialEvents") {
				_, _ = fmt.Fprint(w, events)
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done() // Nothing changes.
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/leases"):
			_, _ = fmt.Fprint(w, `{"apiVersion":"coordination.k8s.io/v1","kind":"LeaseList","metadata":{"resourceVersion":"1"},"items":[{`+lease+"]}")
		case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/pods") && r.URL.Query().Get("fieldSelector") == "metadata.name=far-1":
			_, _ = fmt.Fprint(w, pods)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(api.Close)
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	writeFile(t, kubeconfig, "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: '"+api.URL+"'}}]\n"+
		"users: [{name: u, user: {}}]\ncontexts: [{name: c, context: {cluster: c, user: u, namespace: default}}]\n")
	return kubeconfig
}

// What a target of TestExplain exposes in one scrape.
const (
	exposedCodes, exposedNoise = 10, 5
	exposedAll                 = exposedCodes + exposedNoise
)

func explainTarget() http.Handler {
	var text strings.Builder
	text.WriteString("# TYPE req counter\n")
	for i := range exposedCodes {
		fmt.Fprintf(&text, "req{code=\"%d\"} 1\n", 200+i)
	}
	for i := range exposedNoise {
		fmt.Fprintf(&text, "noise{i=\"%d\"} 1\n", i)
	}
	return exposes(plain, text.String())
}

// TestExplain: which rule has dropped a target and how many samples, and which agent has a job, is told of a running agent;
// and the numbers are what targets exposed and the receiver did not get.
func TestExplain(t *testing.T) {
	t.Parallel()
	const interval = 500 * time.Millisecond
	app := startTarget(t, explainTarget())
	list := filepath.Join(t.TempDir(), "targets.json")
	writeFile(t, list, `[{"targets":["`+app+`"],"labels":{"stage":"new","evil":"<script>alert(1)</script>\n\u001b[31m"}},`+
		`{"targets":["127.0.0.1:2"],"labels":{"stage":"old"}},{"targets":["127.0.0.1:3/path"],"labels":{"stage":"new"}}]`)
	dest := startReceiver(t)
	found := "  file_sd_configs: [{files: ['" + list + "'], refresh_interval: 200ms}]\n"
	a := startAgent(t, global(interval)+
		remoteWrite(dest.URL(), soon, "write_relabel_configs:\n- {source_labels: [code], regex: '201', action: drop}")+
		"agent: {scopes: {app: every, several: every}}\n"+jobs(
		"- job_name: app\n"+found+"  relabel_configs:\n  - {source_labels: [stage], target_label: level}\n  - {source_labels: [stage], regex: old, action: drop}\n"+
			"  metric_relabel_configs: [{source_labels: [__name__], regex: noise, action: drop}]\n",
		"- job_name: several\n"+found+"  relabel_configs: [{source_labels: [stage], regex: new, action: keep}]\n"+
			"  metric_relabel_configs:\n  - {source_labels: [__name__], regex: noise, action: drop}\n  - {source_labels: [code], regex: '20[2-4]', action: drop}\n",
		job("elsewhere", []string{app}),
	), "--scrape.scope=cluster", "--kubernetes.kubeconfig="+leaseOfOther(t))
	wantArrives(t, a, dest, "__name__", "req", "job", "app", "code", "200")
	wantArrives(t, a, dest, "__name__", "req", "job", "several", "code", "200")

	t.Run("target", func(t *testing.T) { wantTargetsExplained(t, a, app) })
	t.Run("metric", func(t *testing.T) { wantMetricsExplained(t, a) })
	t.Run("refusals", func(t *testing.T) { wantExplainRefusals(t, a) })

	// Without targets nothing is on its way any more. Of the two jobs the points of the codes that no rule drops are the scrapes.
	writeFile(t, list, "[]")
	a.until(t, 60*time.Second, "the counts are what is missing", func(context.Context) error {
		first, several := pointsOf(dest, "app"), pointsOf(dest, "several")
		if first.stale == 0 || several.stale == 0 {
			return fmt.Errorf("the end of the series has not come: %+v, %+v", first, several)
		}
		told := explained[metricExplained](t, a, "metric", "req") //nolint:contextcheck // A program ends with the test.
		return wantCounts(told, first, several)
	})
	stop(t, a)
}

// points are those of one series.
type points struct{ values, stale int64 }

// pointsOf are those of the series that no rule drops.
func pointsOf(dest *receiver.Receiver, job string) (found points) {
	for _, s := range dest.Match("__name__", "req", "job", job, "code", "209") {
		for _, p := range s.Points {
			if p.Stale() {
				found.stale++
			} else {
				found.values++
			}
		}
	}
	return found
}

func wantCounts(told metricExplained, first, several points) error {
	if len(told.Jobs) != 3 || len(told.Destinations) != 1 {
		return fmt.Errorf("got %+v", told)
	}
	one, two, door := told.Jobs[0], told.Jobs[1], told.Destinations[0]
	if one.SinceStart.Scraped != first.values*exposedAll || two.SinceStart.Scraped != several.values*exposedAll {
		return fmt.Errorf("%d and %d samples were scraped as it says, but %d and %d", one.SinceStart.Scraped, two.SinceStart.Scraped, first.values*exposedAll, several.values*exposedAll)
	}
	if got := one.Rules[0]; !got.Exact || got.Dropped != first.values*exposedNoise || one.SinceStart.Dropped != got.Dropped {
		return fmt.Errorf("%+v and %+v, but %d samples were dropped", got, one.SinceStart, first.values*exposedNoise)
	}
	if want := several.values * (exposedNoise + 3); two.SinceStart.Dropped != want {
		return fmt.Errorf("%+v, but %d samples were dropped", two.SinceStart, want)
	}
	// The end of a series is a sample too for a destination.
	if got, want := door.Rules[0], first.values+first.stale+several.values+several.stale; !got.Exact || got.Dropped != want {
		return fmt.Errorf("%+v at the destination, but %d samples were dropped", got, want)
	}
	return nil
}

func wantTargetsExplained(t *testing.T, a *agent, app string) {
	t.Helper()
	told := explained[targetExplained](t, a, "target", "127.0.0.1:2")
	if len(told.Matches) != 2 || told.Matches[0].State != "dropped" || told.Matches[0].Job != "app" {
		t.Fatalf("a dropped target: %+v", told)
	}
	steps := told.Matches[0].Steps
	if len(steps) != 2 || steps[0].Dropped || !steps[1].Dropped || steps[1].Text != "{source_labels: [stage], regex: old, action: drop}" {
		t.Errorf("the steps of a dropped target: %+v", steps)
	}
	told = explained[targetExplained](t, a, "target", "http://"+app+"/metrics")
	if len(told.Matches) != 2 || told.Matches[0].State != "scraped" || told.Matches[0].After["level"] != "new" || told.Matches[0].URL != "http://"+app+"/metrics" {
		t.Errorf("a scraped target: %+v", told)
	}
	if told := explained[targetExplained](t, a, "target", "127.0.0.1:3/path"); len(told.Matches) != 2 || told.Matches[0].State != "invalid" || !strings.Contains(told.Matches[0].Verdict, "not a valid hostname") {
		t.Errorf("a target with a bad address: %+v", told)
	}
	told = explained[targetExplained](t, a, "target", "elsewhere")
	if want := "job elsewhere: scraped by agent-b: another agent holds the lease; ask that agent"; told.Verdict != want || told.Jobs[2].Scraped || told.Jobs[2].By != "agent-b" {
		t.Errorf("a job of another agent: %+v", told)
	}
	for query, want := range map[string]string{
		"far-1": "it is a pod on node node-b", "shop/far-1": "it is a pod on node node-b", "nothing": `no job sees "nothing" here; 1 job not scraped here and may see it: elsewhere`,
		"app": "job app: of the 3 targets that it discovered here, 1 is scraped and 1 dropped",
	} {
		if text := a.explain(t, "target", query); !strings.Contains(text, want) {
			t.Errorf("of %s is not told %q:\n%s", query, want, text)
		}
	}
	text := a.explain(t, "target", app)
	for _, part := range []string{"rule 1  {source_labels: [stage], target_label: level}", `level  "" -> "new"`, `evil`, `<script>alert(1)</script>\n\x1b[31m`} {
		if !strings.Contains(text, part) {
			t.Errorf("the text is without %q:\n%s", part, text)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Errorf("the text steers the terminal: %q", text)
	}
}

func wantMetricsExplained(t *testing.T, a *agent) {
	t.Helper()
	told := explained[metricExplained](t, a, "metric", "noise", "--job=app")
	if len(told.Jobs) != 1 || told.Jobs[0].Samples != exposedNoise || told.Jobs[0].Kept != 0 || told.Jobs[0].Rules[0].Metric != exposedNoise {
		t.Errorf("a metric that is dropped: %+v", told)
	}
	told = explained[metricExplained](t, a, "metric", "req", "--job=several")
	one := told.Jobs[0]
	if one.Samples != exposedCodes || one.Kept != exposedCodes-3 || one.Rules[0].Exact || one.Rules[0].Dropped+one.Rules[1].Dropped != one.SinceStart.Dropped {
		t.Errorf("a metric of which some is dropped: %+v", told)
	}
	if d := told.Destinations[0]; d.Samples != exposedCodes-3 || d.Kept != exposedCodes-4 || d.Rules[0].Metric != 1 {
		t.Errorf("what comes to the destination: %+v", d)
	}
	for query, want := range map[string]string{"none": "no job exposes it", "up": "the agent adds it to each scrape", "req": "exposed by 2 jobs (app, several)"} {
		if text := a.explain(t, "metric", query); !strings.Contains(text, want) {
			t.Errorf("of %s is not told %q:\n%s", query, want, text)
		}
	}
}

func wantExplainRefusals(t *testing.T, a *agent) {
	t.Helper()
	for _, tc := range []struct {
		path, want string
		code       int
	}{
		{"target", "nothing is asked for", 400},
		{"target?q=+", "nothing is asked for", 400},
		{"target?q=" + strings.Repeat("x", 50_000), "has 50000 bytes", 400},
		{"metric?job=app", "nothing is asked for", 400},
		{"metric?name=a&job=" + strings.Repeat("x", 50_000), "has 50000 bytes", 400},
		{"target?q=%ff%00%1b[31m", "no job sees", 200},
		{"metric?name=%ff%00%1b[31m", "no job exposes it", 200},
		{"metric?name=a&job=" + url.QueryEscape("<script>"), "the config has no job", 200},
	} {
		code, body, err := process.Get(t.Context(), a.url+"/api/v1/explain/"+tc.path)
		if err != nil || code != tc.code || !strings.Contains(body, tc.want) || strings.Contains(body, "<script>") {
			t.Errorf("%.60s: %d %v %.500s", tc.path, code, err, body)
		}
	}
	if code, text := runToEnd(t, "explain", "target", "x", "--url=http://"+freeAddress(t)); code != 1 || !strings.Contains(text, "is it running, and is --url its address?") {
		t.Errorf("without an agent: exit code %d, %s", code, text)
	}
	if code, text := runToEnd(t, "explain", "target"); code != 2 || !strings.Contains(text, "required argument") {
		t.Errorf("of nothing: exit code %d, %s", code, text)
	}
}
