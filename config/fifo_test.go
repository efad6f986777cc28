// SPDX-License-Identifier: Apache-2.0

//go:build !windows

package config

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestReferencedFIFO checks that a reference to what is no regular file does not block.
func TestReferencedFIFO(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Skip(err)
	}
	path := write(t, filepath.Join(dir, "c.yaml"), goodText+"scrape_configs: [{job_name: a, authorization: {credentials_file: fifo}}]\n")
	if _, err := Load(path, required()); err != nil {
		t.Error(err)
	}
}

func TestAPipeIsRefusedAndNotWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, required()); err == nil || !strings.Contains(err.Error(), "a pipe or a device") {
		t.Errorf("got %v", err)
	}
}
