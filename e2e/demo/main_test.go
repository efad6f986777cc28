// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOnce(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out strings.Builder
	if err := run(ctx, &out, time.Second, true); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, job := range []string{"node", "prometheus", "torchbearer"} {
		found := false
		for line := range strings.Lines(out.String()) {
			fields := strings.Fields(line)
			found = found || len(fields) == 4 && fields[0] == "demo" && fields[1] == "local" && fields[2] == job
		}
		if !found {
			t.Errorf("job %s is not in the table:\n%s", job, out.String())
		}
	}
	left, err := filepath.Glob(filepath.Join(temp, "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("the demo left %v, %v", left, err)
	}
}

func TestDeadProgram(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	broken := filepath.Join(t.TempDir(), "torchbearer")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho this is why\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TORCHBEARER_BIN", broken)
	var out strings.Builder
	err := run(t.Context(), &out, time.Second, true)
	if err == nil || !strings.Contains(err.Error(), "torchbearer has ended") || !strings.Contains(err.Error(), "this is why") {
		t.Errorf("a program that ended at once is told as %v", err)
	}
}
