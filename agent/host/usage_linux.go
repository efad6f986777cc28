// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// usage is how full the file system of a directory is, in bytes and in files.
func usage(dir string) (string, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "", &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	size := uint64(s.Bsize) // No block has a negative size.
	return fmt.Sprintf("%d bytes, free for the agent %d; %d files, free %d; kind %#x, flags %#x",
		s.Blocks*size, s.Bavail*size, s.Files, s.Ffree, s.Type, s.Flags), nil
}
