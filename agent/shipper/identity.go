// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/relabel"
)

// identity is by what a destination is known again after a reload or a restart.
type identity struct {
	Name string `json:"name,omitempty"` // of the config, "" where it has none
	// URL is a hash: an URL may have a token in it.
	URL string `json:"url"`
	// Tenant is a hash of the headers and the user, and Rules one of
	// write_relabel_configs: they tell destinations of one URL apart.
	Tenant string `json:"tenant,omitempty"`
	Rules  string `json:"rules"`
}

// maxName bounds what a journal has of a name: its slots are small.
const maxName = 256

func identify(rw *promconfig.RemoteWriteConfig) identity {
	plain := *rw.URL.URL
	plain.User = nil
	id := identity{Name: rw.Name, URL: hash(plain.String()), Rules: hash(ruleText(rw.WriteRelabelConfigs))}
	if len(id.Name) > maxName {
		id.Name = hash(id.Name)
	}
	if tenant := tenantText(rw); tenant != "" {
		id.Tenant = hash(tenant)
	}
	return id
}

// tenantText is the same for what a receiver takes for the same one: headers and
// user, but no passwords, which change.
func tenantText(rw *promconfig.RemoteWriteConfig) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(rw.Headers)) {
		fmt.Fprintf(&b, "%q %q\n", strings.ToLower(name), rw.Headers[name])
	}
	if user := rw.URL.User.Username(); user != "" {
		fmt.Fprintf(&b, "user %q\n", user)
	}
	if basic := rw.HTTPClientConfig.BasicAuth; basic != nil {
		fmt.Fprintf(&b, "basic %q %q\n", basic.Username, basic.UsernameFile)
	}
	return b.String()
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// ruleText is the same for the same rules.
func ruleText(rules []*relabel.Config) string {
	var b strings.Builder
	for _, r := range rules {
		fmt.Fprintf(&b, "%q %q %q %d %q %q %q\n", r.SourceLabels, r.Separator, r.Regex.String(), r.Modulus, r.TargetLabel, r.Replacement, r.Action)
	}
	return b.String()
}

// none is the index that match gives for nothing.
const none = -1

// match finds for each wanted destination the index of the known one that it
// goes on from, or none. Each known one is given once, in this order: the same
// everything; other rules; another tenant; another URL; another name.
func match(wanted, known []identity) []int {
	found := make([]int, len(wanted))
	for i := range found {
		found[i] = none
	}
	taken := make([]bool, len(known))
	for _, same := range []func(a, b identity) bool{
		func(a, b identity) bool { return a == b },
		func(a, b identity) bool { return a.Name == b.Name && a.URL == b.URL && a.Tenant == b.Tenant },
		func(a, b identity) bool { return a.Name == b.Name && a.URL == b.URL },
		func(a, b identity) bool { return a.Name != "" && a.Name == b.Name },
		func(a, b identity) bool { return a.URL == b.URL },
	} {
		for i, w := range wanted {
			for k := range known {
				if found[i] == none && !taken[k] && same(w, known[k]) {
					found[i], taken[k] = k, true
				}
			}
		}
	}
	return found
}
