// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os"
	"path/filepath"
	"testing"

	"torchbearer/config"
)

func TestClusterIsTheValuesOfTheMandatoryLabels(t *testing.T) {
	file := filepath.Join(t.TempDir(), "torchbearer.yaml")
	text := "global: {external_labels: {environment: prod, clustername: aks-1, team: blue}}\nremote_write: [{url: 'https://central/write'}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	running, err := config.Load(file, config.Options{RequiredLabels: []string{"environment", "clustername"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := (&Agent{running: running}).Cluster(); got != "aks-1-prod" {
		t.Errorf("got %q, want the two values by the names of their labels", got)
	}
}
