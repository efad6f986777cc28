// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package disk

import "os"

// Sync brings what was written to a file to the disk.
func Sync(f *os.File) error { return f.Sync() }
