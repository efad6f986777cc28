// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// mapping is a range of addresses.
type mapping struct{ from, to uintptr }

// unload gives back the pages of the program's own file, most of which only its
// start needed. The kernel maps those again that are used: they are as in the
// file. A process is as large as what is mapped.
func unload() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find the program's own file: %w", err)
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("find where the program is mapped: %w", err)
	}
	for _, m := range cleanMappings(string(smaps), exe) {
		if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, syscall.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("give back pages of the program: %w", errno)
		}
	}
	return nil
}

// cleanMappings finds in the text of /proc/<pid>/smaps where a file is mapped
// read-only and no page is another than in the file: those that a loader has
// changed could not be had again.
// https://docs.kernel.org/filesystems/proc.html
func cleanMappings(smaps, file string) (clean []mapping) {
	var m mapping
	found := false
	for line := range strings.Lines(smaps) {
		line = strings.TrimSuffix(line, "\n")
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 6 && strings.Contains(fields[0], "-"):
			m, found = parseMapping(fields[0])
			found = found && !strings.Contains(fields[1], "w") && strings.HasSuffix(line, " "+file)
		case found && len(fields) >= 2 && fields[0] == "Anonymous:" && fields[1] == "0":
			clean = append(clean, m)
		}
	}
	return clean
}

func parseMapping(text string) (m mapping, ok bool) {
	first, second, _ := strings.Cut(text, "-")
	from, err := strconv.ParseUint(first, 16, strconv.IntSize)
	if err != nil {
		return m, false
	}
	to, err := strconv.ParseUint(second, 16, strconv.IntSize)
	return mapping{uintptr(from), uintptr(to)}, err == nil && from < to
}
