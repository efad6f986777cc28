// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// An update of Prometheus in go.mod is not done before the copies are renewed, and
// nothing of the copies changes but by changes.patch.
func TestCopyIsUpstreamWithChanges(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	renewed := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "./renew.sh", renewed).CombinedOutput()
	require.NoError(t, err, "renew.sh: %s", out)
	require.NoError(t, filepath.WalkDir(renewed, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(renewed, path)
		require.NoError(t, err)
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		got, err := os.ReadFile(name)
		require.NoError(t, err, "run agent/upstream/renew.sh")
		require.True(t, string(want) == string(got), "%s is not upstream's with changes.patch: run agent/upstream/renew.sh, or renew.sh diff", name)
		return nil
	}))
}
