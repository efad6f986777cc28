// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	sdk "github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

const dashboardsFolder = "../deploy/central/dashboards"

// A dashboard is what the checks look at of one of Grafana's.
type dashboard struct {
	UID        string
	Title      string
	Editable   bool
	Templating struct {
		List []struct {
			Name  string
			Type  string
			Query json.RawMessage
		}
	}
	Panels []panel
}

type datasource struct{ Type, UID string }

type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	Datasource  datasource
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct {
		RefID      string
		Expr       string
		Instant    bool
		Datasource datasource
	}
	FieldConfig struct {
		Defaults struct {
			Unit     string
			NoValue  string
			Mappings []any
		}
	}
}

func (p *panel) String() string { return fmt.Sprintf("panel %d (%q)", p.ID, p.Title) }

// readDashboards reads all of deploy/central/dashboards, by the names of their files.
func readDashboards(t *testing.T) map[string]dashboard {
	t.Helper()
	files, err := filepath.Glob(dashboardsFolder + "/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("find the dashboards: %v, %d files", err, len(files))
	}
	all := map[string]dashboard{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all[filepath.Base(file)] = d
	}
	return all
}

// TestDashboardsAreGrafanas reads the dashboards as the types of Grafana's own schema, to which nothing may be unknown,
// and looks whether they are written as they would be written anew, so that a diff shows what changed.
func TestDashboardsAreGrafanas(t *testing.T) {
	t.Parallel()
	plugins.RegisterDefaultPlugins()
	for name := range readDashboards(t) {
		text := readDeploy(t, "central/dashboards/"+name)
		var typed sdk.Dashboard //nolint:staticcheck // Grafana 10 and 11 do not read what is to be preferred, version 2
		if err := typed.UnmarshalJSONStrict([]byte(text)); wrong(err) {
			t.Errorf("%s is no dashboard of Grafana: %v", name, err)
		}
		if err := typed.Validate(); wrong(err) {
			t.Errorf("%s is not valid: %v", name, err)
		}
		var tree map[string]any
		if err := json.Unmarshal([]byte(text), &tree); err != nil {
			t.Fatal(err)
		}
		var normal bytes.Buffer
		encoder := json.NewEncoder(&normal)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(tree); err != nil {
			t.Fatal(err)
		}
		if normal.String() != text {
			t.Errorf("%s is not written in the normal form: two spaces, keys sorted (jq -S --indent 2)", name)
		}
	}
}

// wrong tells whether an error of the SDK is one: it also returns errors that are empty lists.
func wrong(err error) bool {
	var list cog.BuildErrors
	return err != nil && (!errors.As(err, &list) || len(list) > 0)
}

// TestDashboardsAreTidy has the rules of Grafana's dashboard-linter that make sense here, and some of our own.
func TestDashboardsAreTidy(t *testing.T) {
	t.Parallel()
	all := readDashboards(t)
	titles, variables := map[string]string{}, map[string][]string{}
	for name, d := range all {
		for _, v := range d.Templating.List {
			variables[d.UID] = append(variables[d.UID], v.Name)
		}
		if before, ok := titles[d.Title]; ok || d.Title == "" || d.UID == "" || d.Editable {
			t.Errorf("%s: title %q (also of %q), uid %q, editable %t", name, d.Title, before, d.UID, d.Editable)
		}
		titles[d.Title] = name
		if len(d.Templating.List) == 0 || d.Templating.List[0].Type != "datasource" || d.Templating.List[0].Name != "datasource" {
			t.Errorf("%s: the first variable is not the data source", name)
		}
	}
	link := regexp.MustCompile(`"url": "/d/([^/?]+)[^"]*"`)
	variable := regexp.MustCompile(`var-(\w+)=`)
	for name, d := range all {
		ids := map[int]bool{}
		for i := range d.Panels {
			p := &d.Panels[i]
			if ids[p.ID] {
				t.Errorf("%s: two panels have the id %d", name, p.ID)
			}
			ids[p.ID] = true
			checkPanel(t, name, p)
			for j := range i {
				if overlap(p, &d.Panels[j]) {
					t.Errorf("%s: %s lies over %s", name, p, &d.Panels[j])
				}
			}
		}
		for _, m := range link.FindAllStringSubmatch(readDeploy(t, "central/dashboards/"+name), -1) {
			for _, v := range variable.FindAllStringSubmatch(m[0], -1) {
				if !slices.Contains(variables[m[1]], v[1]) {
					t.Errorf("%s: a link leads to dashboard %s with variable %s, which it does not have", name, m[1], v[1])
				}
			}
		}
	}
}

func overlap(a, b *panel) bool {
	return a.GridPos.X < b.GridPos.X+b.GridPos.W && b.GridPos.X < a.GridPos.X+a.GridPos.W &&
		a.GridPos.Y < b.GridPos.Y+b.GridPos.H && b.GridPos.Y < a.GridPos.Y+a.GridPos.H
}

func checkPanel(t *testing.T, name string, p *panel) {
	t.Helper()
	if p.Title == "" || p.GridPos.W < 1 || p.GridPos.H < 1 || p.GridPos.X < 0 || p.GridPos.X+p.GridPos.W > 24 {
		t.Errorf("%s: %s has no title or is not on the grid: %+v", name, p, p.GridPos)
	}
	if p.Type == "row" {
		return
	}
	if !strings.HasSuffix(p.Description, ".") {
		t.Errorf("%s: the description of %s is no sentence: %q", name, p, p.Description)
	}
	if p.FieldConfig.Defaults.Unit == "" {
		t.Errorf("%s: %s has no unit", name, p)
	}
	if len(p.Targets) == 0 {
		t.Errorf("%s: %s asks nothing", name, p)
	}
	refs := map[string]bool{}
	for _, target := range p.Targets {
		if refs[target.RefID] || target.RefID == "" {
			t.Errorf("%s: %s has two queries %q", name, p, target.RefID)
		}
		refs[target.RefID] = true
		for _, ds := range []datasource{p.Datasource, target.Datasource} {
			if ds != (datasource{"prometheus", "${datasource}"}) {
				t.Errorf("%s: %s does not use the data source of the dashboard: %+v", name, p, ds)
			}
		}
		checkQuery(t, name+": "+p.String(), target.Expr)
	}
}

// checkQuery parses a query, and looks at each selector: it is of the environment that was chosen, and a counter is only
// seen through rate (over $__rate_interval) or increase.
func checkQuery(t *testing.T, where, text string) {
	t.Helper()
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(inGrafana(text, "e", "c", "a"))
	if err != nil {
		t.Errorf("%s: %v: %s", where, err, text)
		return
	}
	if strings.Contains(text, "rate(") && strings.Count(text, "rate(") != strings.Count(text, "[$__rate_interval]") {
		t.Errorf("%s: a rate is not over $__rate_interval: %s", where, text)
	}
	parser.Inspect(expr, func(node parser.Node, path []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		if !slices.ContainsFunc(selector.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == "environment" }) {
			t.Errorf("%s: %s is of any environment", where, selector)
		}
		counted := slices.ContainsFunc(path, func(n parser.Node) bool {
			call, ok := n.(*parser.Call)
			return ok && slices.Contains([]string{"rate", "increase"}, call.Func.Name)
		})
		if counter := strings.HasSuffix(selector.Name, "_total"); counter && !counted {
			t.Errorf("%s: counter %s without rate or increase", where, selector.Name)
		}
		return nil
	})
}

// inGrafana puts values in the place of the variables of the dashboards and of Grafana.
func inGrafana(text, environment, cluster, agent string) string {
	return strings.NewReplacer("$environment", environment, "$cluster", cluster, "$agent", agent,
		"$__rate_interval", "30s").Replace(text)
}
