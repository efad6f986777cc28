// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// mapping is a range of addresses.
type mapping struct{ from, to uintptr }

const (
	// nearby is how much of the program the kernel may map where one page of it is
	// used. It maps what is around in the same mapping, up to 64 KiB (fault_around_bytes):
	// of a program that uses a page here and there most of that is for nothing.
	nearby = 16 << 10
	// madvDontDump keeps a range apart from those beside it that it is not said of.
	// It is of no other consequence: what is as in a file is not part of a core dump.
	// https://man7.org/linux/man-pages/man2/madvise.2.html
	madvDontDump = 16
)

// unload gives back the pages of the program's own file, most of which only its
// start needed. The kernel maps those again that are used, and not much around
// them: they are as in the file. A process is as large as what is mapped.
func unload() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find the program's own file: %w", err)
	}
	smaps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("find where the program is mapped: %w", err)
	}
	clean := cleanMappings(string(smaps), exe)
	if err = split(clean, mapsAllowed()); err != nil {
		err = fmt.Errorf("keep apart the pages of the program: %w", err)
	}
	for _, m := range clean {
		if failed := m.advise(syscall.MADV_DONTNEED); failed != nil {
			err = errors.Join(err, fmt.Errorf("give back pages of the program: %w", failed))
		}
	}
	return err
}

// mapsAllowed is how many mappings a process may have; 0 is not known.
// https://docs.kernel.org/admin-guide/sysctl/vm.html
func mapsAllowed() int {
	text, err := os.ReadFile("/proc/sys/vm/max_map_count")
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return n
}

// split makes of mappings many that are as large as nearby, if those are a quarter
// of what is allowed at most: the heap needs some, too. Which of them are advised
// is told by their address, so that a second time nothing changes.
func split(all []mapping, allowed int) error {
	size, many := max(nearby, uintptr(os.Getpagesize())), 0
	for _, m := range all {
		many += int((m.to - m.from) / size)
	}
	if many > allowed/4 {
		return fmt.Errorf("it would need %d mappings of the %d that are allowed", many, allowed)
	}
	for _, m := range all {
		for from := (m.from + 2*size - 1) / (2 * size) * (2 * size); from+size <= m.to; from += 2 * size {
			if err := (mapping{from, from + size}).advise(madvDontDump); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m mapping) advise(advice uintptr) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, advice); errno != 0 {
		return fmt.Errorf("madvise %x-%x, %d: %w", m.from, m.to, advice, errno)
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
