// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"testing"

	kube "torchbearer/e2e/cluster"
)

// allowAsChart makes the service account of the chart, which may do what the chart lets it and nothing else.
func allowAsChart(t *testing.T, c *kube.ControlPlane) {
	t.Helper()
	rendered := render(t, "--values", chartValues(t)["minimal"],
		"--show-only", "templates/serviceaccount.yaml", "--show-only", "templates/rbac.yaml")
	if n, err := c.Create(t.Context(), rendered, false); err != nil || n < 5 {
		t.Fatalf("create the %d roles of the chart: %v", n, err)
	}
}
