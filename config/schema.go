// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"strings"

	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/dns"
	"github.com/prometheus/prometheus/discovery/file"
	"github.com/prometheus/prometheus/discovery/http"
	"github.com/prometheus/prometheus/discovery/kubernetes"
)

// knownFields are the field names that Prometheus's parser takes in the mapping that steps lead to; none when the names
// there are free, or not known.
func knownFields(steps []string) []string {
	t := typeAt(steps)
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	var names []string
	eachYAMLField(t, func(name string, _ reflect.Type) { names = append(names, name) })
	return names
}

// kindAt is the kind of value that steps lead to, Invalid when that is not known.
func kindAt(steps []string) reflect.Kind {
	if t := typeAt(steps); t != nil {
		return t.Kind()
	}
	return reflect.Invalid
}

func typeAt(steps []string) reflect.Type {
	t := reflect.TypeFor[promconfig.Config]()
	for _, step := range steps {
		if t = fieldType(t, step); t == nil {
			return nil
		}
	}
	return bare(t)
}

func bare(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// fieldType is the type of one step: an item of a list, a field of a struct, a value of a map.
func fieldType(t reflect.Type, step string) reflect.Type {
	t = bare(t)
	switch t.Kind() {
	case reflect.Slice:
		if strings.HasPrefix(step, "[") {
			return t.Elem()
		}
	case reflect.Map:
		return t.Elem()
	case reflect.Struct:
		var found reflect.Type
		eachYAMLField(t, func(name string, ft reflect.Type) {
			if name == step {
				found = ft
			}
		})
		return found
	default:
	}
	return nil
}

// staticGroup is what an item of static_configs holds.
type staticGroup struct {
	Targets []string          `yaml:"targets"`
	Labels  map[string]string `yaml:"labels"`
}

func eachYAMLField(t reflect.Type, visit func(name string, t reflect.Type)) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case f.Type == reflect.TypeFor[discovery.Configs]():
			visit("static_configs", reflect.TypeFor[[]staticGroup]())
			visit("kubernetes_sd_configs", reflect.TypeFor[[]kubernetes.SDConfig]())
			visit("file_sd_configs", reflect.TypeFor[[]file.SDConfig]())
			visit("http_sd_configs", reflect.TypeFor[[]http.SDConfig]())
			visit("dns_sd_configs", reflect.TypeFor[[]dns.SDConfig]())
		case strings.Contains(options, "inline") && bare(f.Type).Kind() == reflect.Struct:
			eachYAMLField(bare(f.Type), visit)
		case name != "" && name != "-":
			visit(name, f.Type)
		}
	}
}

// Nearest is the candidate that may be meant by a name that is none of them, or empty.
func Nearest(name string, candidates []string) string { return nearest(name, candidates) }

// nearest is the candidate that is at most two typing errors away from name, or empty.
func nearest(name string, candidates []string) string {
	best, bestDistance := "", 3
	for _, candidate := range candidates {
		if d := editDistance(name, candidate); d < bestDistance && d < len(candidate) {
			best, bestDistance = candidate, d
		}
	}
	return best
}

// editDistance counts the letters to insert, delete or replace to make b of a; over 2 it only says so.
func editDistance(a, b string) int {
	if len(a)-len(b) > 2 || len(b)-len(a) > 2 || len(a) > 100 {
		return 3
	}
	previous := make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := range len(a) {
		current := make([]int, len(b)+1)
		current[0] = i + 1
		for j := range len(b) {
			replace := previous[j]
			if a[i] != b[j] {
				replace++
			}
			current[j+1] = min(replace, previous[j+1]+1, current[j]+1)
		}
		previous = current
	}
	return previous[len(b)]
}
