// SPDX-License-Identifier: Apache-2.0

//go:build unix

package shipper

import (
	"path/filepath"
	"syscall"
	"testing"
)

func TestJournalAPipeInItsPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openJournal(path); err == nil {
		t.Error("opened")
	}
}
