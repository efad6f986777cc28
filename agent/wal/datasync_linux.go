// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"os"
	"syscall"
)

// datasync brings what was written to a file to the disk.
func datasync(f *os.File) error {
	return os.NewSyscallError("fdatasync", syscall.Fdatasync(int(f.Fd())))
}
