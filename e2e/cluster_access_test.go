// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"slices"
	"strings"
	"testing"

	rbac "k8s.io/api/rbac/v1"

	kube "torchbearer/e2e/cluster"
)

// unused is what the chart's roles allow and a run need not use, with the reason.
var unused = map[string]string{
	"get leases":          "of the lease that somebody else has written in the same moment",
	"list leases":         listReason,
	"list nodes":          listReason,
	"list pods":           listReason,
	"list services":       listReason,
	"list endpointslices": listReason,
}

const listReason = "a new API server sends what there is as the beginning of the watch; others are asked for a list"

// wantAccessUsed compares what the agent has asked the API server for with what the chart's roles allow: no more, or it
// would have been refused, and no less.
func wantAccessUsed(t *testing.T, i *installation) {
	t.Helper()
	requests, err := i.Requests()
	if err != nil {
		t.Fatal(err)
	}
	user := "system:serviceaccount:" + monitoring + ":" + accountName
	requests = slices.DeleteFunc(requests, func(r kube.Request) bool { return r.User != user })
	if len(requests) == 0 {
		t.Fatal("the agent has asked for nothing")
	}
	for _, r := range requests {
		if r.Code == 403 || r.Code == 401 {
			t.Errorf("the agent was refused with %d: %s %s", r.Code, r.Verb, r.Path)
		}
	}
	for _, object := range decode(t, render(t, i.arguments()...)) {
		switch role := object.(type) {
		case *rbac.ClusterRole:
			wantRulesUsed(t, requests, "", role.Rules)
		case *rbac.Role:
			wantRulesUsed(t, requests, role.Namespace, role.Rules)
		}
	}
}

func wantRulesUsed(t *testing.T, requests []kube.Request, namespace string, rules []rbac.PolicyRule) {
	t.Helper()
	for _, rule := range rules {
		for _, verb := range rule.Verbs {
			for _, what := range append(slices.Clone(rule.Resources), rule.NonResourceURLs...) {
				used := slices.ContainsFunc(requests, func(r kube.Request) bool {
					return r.Verb == verb && (r.Resource == what || r.Resource == "" && strings.HasPrefix(r.Path, what)) &&
						(namespace == "" || r.Namespace == namespace)
				})
				if reason, known := unused[verb+" "+what]; !used && known {
					t.Logf("not used: %s %s in namespace %q: %s", verb, what, namespace, reason)
				} else if !used {
					t.Errorf("a rule that nothing needs: %s %s in namespace %q", verb, what, namespace)
				}
			}
		}
	}
}
