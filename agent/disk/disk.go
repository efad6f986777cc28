// SPDX-License-Identifier: Apache-2.0

// Package disk brings to the disk what a power cut must not take.
package disk

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

// SyncDir makes sure that new and renamed files of a folder are found after a
// power cut.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // It has no such thing.
	}
	d, err := os.Open(dir)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
