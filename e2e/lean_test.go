// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestProgramIsLean: what the linker can leave out (cmd/lean.sh) is left out, and templates find all methods that they
// call. The pages are looked at in TestPages and in browser.
func TestProgramIsLean(t *testing.T) {
	const most = 48_000_000 // bytes
	path := lean(t)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > most {
		t.Errorf("%s has %d bytes, at most %d are allowed: has cmd/lean.sh said anything while it was built?", path, info.Size(), most)
	}
	for args, want := range map[string]string{
		"--help":                   "--config.file",
		"--help-long":              "prepare-data",
		"--help-man":               ".SH \"OPTIONS\"",
		"help check live":          "--output",
		"--completion-script-bash": "complete -F",
		"--completion-script-zsh":  "compdef",
		"--version":                "go version",
	} {
		out, err := exec.CommandContext(t.Context(), path, strings.Fields(args)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) || strings.Contains(string(out), "can't evaluate") {
			t.Errorf("torchbearer %s: %v, without %q:\n%s", args, err, want, out)
		}
	}
}
