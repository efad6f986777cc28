// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCleanMappings(t *testing.T) {
	const smaps = `00400000-00500000 r-xp 00000000 08:01 42 /bin/agent
Rss:                 512 kB
Anonymous:             0 kB
VmFlags: rd ex
00500000-00600000 r--p 00100000 08:01 42 /bin/agent
Anonymous:             4 kB
00600000-00700000 rw-p 00200000 08:01 42 /bin/agent
Anonymous:             0 kB
00700000-00800000 r--p 00300000 08:01 42 /bin/agent
Anonymous:             0 kB
00800000-00900000 r--p 00000000 08:01 43 /other/bin/agent2
Anonymous:             0 kB
c000000000-c000400000 rw-p 00000000 00:00 0
Anonymous:             0 kB
7fff-zz r--p 00000000 08:01 42 /bin/agent
Anonymous:             0 kB
`
	want := []mapping{{0x400000, 0x500000}, {0x700000, 0x800000}}
	if diff := cmp.Diff(want, cleanMappings(smaps, "/bin/agent"), cmp.AllowUnexported(mapping{})); diff != "" {
		t.Errorf("mappings (-want +got):\n%s", diff)
	}
	if clean := cleanMappings("", "/bin/agent"); clean != nil {
		t.Errorf("mappings of nothing: %v", clean)
	}
}

func TestUnload(t *testing.T) {
	for _, when := range []string{"", " a second time"} {
		before := residentOfProgram(t)
		if err := unload(); err != nil {
			t.Fatal(err)
		}
		if after := residentOfProgram(t); after >= before {
			t.Errorf("%d kB of the program are resident%s, %d before", after, when, before)
		}
		size := readHereAndThere(t)
		if after := residentOfProgram(t); after > size/2 {
			t.Errorf("%d kB of %d kB are resident after a byte in 64 KiB was read%s, want half at most", after, size, when)
		}
	}
}

// TestFewMappingsAreAllowed: nothing is split then, as the heap could not grow.
func TestFewMappingsAreAllowed(t *testing.T) {
	for _, allowed := range []int{0, 1023} {
		if err := split([]mapping{{0, 256 * nearby}}, allowed); err == nil {
			t.Errorf("256 of %d mappings are no error", allowed)
		}
	}
	if mapsAllowed() == 0 {
		t.Error("how many are allowed is not known")
	}
}

// mappedFiles is the path of this process's program, and where it and others are mapped.
func mappedFiles(t *testing.T) (exe, smaps string) {
	t.Helper()
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	return exe, string(text)
}

// readHereAndThere reads a byte in 64 KiB of what this process has mapped of its own file, and returns how much that is, in
// kB.
func readHereAndThere(t *testing.T) (size int) {
	t.Helper()
	exe, smaps := mappedFiles(t)
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = memory.Close() }() // It was only read.
	next := uintptr(0)
	for _, m := range cleanMappings(smaps, exe) {
		size += int(m.to-m.from) >> 10
		for next = max(next, m.from); next < m.to; next += 64 << 10 {
			if _, err := memory.ReadAt(make([]byte, 1), int64(next)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return size
}

// residentOfProgram is how much of its own file this process has mapped, in kB.
func residentOfProgram(t *testing.T) (sum int) {
	t.Helper()
	exe, smaps := mappedFiles(t)
	own := false
	for line := range strings.Lines(smaps) {
		fields := strings.Fields(line)
		if len(fields) >= 5 && strings.Contains(fields[0], "-") {
			own = strings.HasSuffix(strings.TrimSpace(line), exe)
		}
		if own && len(fields) == 3 && fields[0] == "Rss:" {
			n, err := strconv.Atoi(fields[1])
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	return sum
}
