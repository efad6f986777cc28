// SPDX-License-Identifier: Apache-2.0

package disk

import (
	"os"
	"syscall"
)

// Sync brings what was written to a file to the disk, without its times.
func Sync(f *os.File) error {
	return os.NewSyscallError("fdatasync", syscall.Fdatasync(int(f.Fd())))
}
