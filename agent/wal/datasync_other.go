// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package wal

import "os"

// datasync brings what was written to a file to the disk.
func datasync(f *os.File) error { return f.Sync() }
