// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"torchbearer/e2e/load"
	"torchbearer/e2e/receiver"
)

// A damaged is a rig that has two starts behind it whose samples are not sent, and whose data directory is then damaged.
type damaged struct {
	*rig
	data string   // path of the data directory
	old  int      // samples that the first start has scraped
	undo []func() // after the agent has refused to start
}

// A damageCase is one way to damage a data directory, and what may become of it.
type damageCase struct {
	name string
	do   func(*damaged)
	// refused is what the agent says of why it does not start; "" when it starts.
	refused string
	// loses is the part of the samples that may be lost; if it is 0, none may.
	loses float64
	// named is in the lines of log that tell of it; "" when it need not be told.
	named string
}

func startDamaged(t *testing.T) *damaged {
	t.Helper()
	r := calm(t, load.Options{Targets: 2, Series: 10})
	r.interval = 200 * time.Millisecond
	r.dest.Status(http.StatusServiceUnavailable)
	d := &damaged{rig: r, data: filepath.Join(r.dir, "data")}
	for range 2 {
		r.start()
		d.segments(5)
		r.scraped(2)
		r.kill()
		if d.old == 0 {
			d.old = r.fleet.Samples()
		}
	}
	r.dest.SetBehaviour(nil)
	return d
}

// segments waits until the log has had so many.
func (d *damaged) segments(n int) {
	d.t.Helper()
	d.until(d.t, 60*time.Second, "the log has segments", func(context.Context) error {
		return atLeast("number of the newest segment", len(d.list(d.newest())), n)
	})
}

// newest is the folder in the hold of the last start.
func (d *damaged) newest() string {
	names, _ := filepath.Glob(filepath.Join(d.data, "hold", "????????"))
	if len(names) == 0 {
		return ""
	}
	return names[len(names)-1]
}

// list has the segments of a folder of the hold.
func (d *damaged) list(folder string) []string {
	names, _ := filepath.Glob(filepath.Join(folder, "????????"))
	return names
}

// segment is the one with this number in the hold of the first start, which is there only.
func (d *damaged) segment(n int) string {
	d.t.Helper()
	return filepath.Join(d.data, "hold", "00000001", fmt.Sprintf("%08d", n))
}

// journal is that of the only destination.
func (d *damaged) journal() string {
	d.t.Helper()
	names, _ := filepath.Glob(filepath.Join(d.data, "ship", "*.journal"))
	if len(names) != 1 {
		d.t.Fatalf("there are %d journals", len(names))
	}
	return names[0]
}

// TestDamage: whatever the data directory is like, the agent starts at once or says why not, and all that can be read comes.
func TestDamage(t *testing.T) {
	cases := make(chan damageCase)
	var wait sync.WaitGroup
	for range 10 { // They wait most of the time.
		wait.Go(func() {
			for c := range cases {
				t.Run(c.name, func(t *testing.T) { c.run(t) })
			}
		})
	}
	all := slices.Concat(damagedSegments(), damagedJournals(), damagedFolders())
	for i := range 6 {
		all = append(all, damageCase{name: fmt.Sprintf("anything anywhere %d", i), do: (*damaged).anything, loses: 1})
	}
	for _, c := range all {
		cases <- c
	}
	close(cases)
	wait.Wait()
}

func (c damageCase) run(t *testing.T) {
	t.Helper()
	d := startDamaged(t)
	c.do(d)
	if c.refused != "" {
		c.wantRefused(d)
		return
	}
	begin := time.Now()
	d.start()
	if took := time.Since(begin); took > 3*time.Second && !raced(t) {
		t.Errorf("it was ready after %s", took)
	}
	d.again()
	told := d.sum("torchbearer_wal_damaged_records_total", "") + d.sum(lostMetric, "")
	a := d.agent
	d.term()
	p := d.report(d.ledger)
	t.Logf("seed %d: %v places or samples are counted; %s", d.seed, told, p)
	if p.Disorder != 0 || p.Twice != 0 {
		t.Errorf("%d points came out of order, %d stored twice:\n  %s", p.Disorder, p.Twice, strings.Join(d.ledger.Strange(), "\n  "))
	}
	most := c.loses * float64(p.samples)
	if c.loses >= 0.5 { // All of the first start, which may be longer on a busy machine.
		most = max(most, float64(d.old))
	}
	if float64(p.lost) > most {
		t.Errorf("%d of %d samples are lost, want %v of them at most", p.lost, p.samples, most)
	}
	if told > 10_000 { // A foreign file may have the name of a far segment.
		t.Errorf("%v places or samples are counted as damaged", told)
	}
	// That the end of what an old start has logged is gone, nobody can know.
	if p.lost > 0 && told == 0 && c.loses < 1 {
		t.Errorf("%d samples are lost and nothing is counted", p.lost)
	}
	// A way by chance may hit what is of no use.
	if p.lost > 0 && c.loses < 1 || c.loses == 0 {
		c.wantNamed(d, a.Output())
	}
}

// again waits until what is scraped now comes: all that was scraped before it has come then, or never will.
func (d *damaged) again() {
	d.t.Helper()
	before := d.answered()
	d.until(d.t, 60*time.Second, "new scrapes come", func(context.Context) error {
		for address, n := range before {
			numbers := d.ledger.Numbers(receiver.Key(load.Metric, address, "0", ""))
			if len(numbers) == 0 || numbers[len(numbers)-1] <= float64(n) {
				return fmt.Errorf("target %s: %d scrapes had been answered, %d numbers have come", address, n, len(numbers))
			}
		}
		return nil
	})
}

// wantNamed checks that the agent has said which file is damaged.
func (c damageCase) wantNamed(d *damaged, output string) {
	d.t.Helper()
	if !strings.Contains(output, c.named) {
		d.t.Errorf("no line of the log names %q:\n%s", c.named, output)
	}
}

// wantRefused starts the agent, which does not start, and again when the cause has gone.
func (c damageCase) wantRefused(d *damaged) {
	d.t.Helper()
	d.agent = runAgent(d.t, d.dir, d.config(), d.flags...)
	code, err := d.Wait(60 * time.Second)
	if err != nil {
		d.t.Fatal(err)
	}
	if output := d.Output(); code <= 0 || !strings.Contains(output, c.refused) || !strings.Contains(output, d.data) {
		d.t.Errorf("it ended with %d and does not say %q of %s:\n%s", code, c.refused, d.data, output)
	}
	for _, undo := range slices.Backward(d.undo) {
		undo()
	}
	d.agent = nil
	d.start()
	d.drain(d.ledger, 60*time.Second)
	d.term()
	if p := d.report(d.ledger); p.lost != 0 {
		d.t.Errorf("%d samples are lost: %s", p.lost, p)
	}
}

// anything damages some files in some ways. Not the lock: an agent does not start when that is no file.
func (d *damaged) anything() {
	d.t.Helper()
	var files []string
	err := filepath.WalkDir(d.data, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() && entry.Name() != "lock" {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	ways := []func(*damaged, string){flip, cut, zeroes, scrambled, appended, fifo, symlink, folder, missing}
	for range 1 + d.random.IntN(8) {
		file, way := d.random.IntN(len(files)), d.random.IntN(len(ways))
		if info, err := os.Lstat(files[file]); err == nil && info.Mode().IsRegular() {
			d.t.Logf("way %d in %s", way, strings.TrimPrefix(files[file], d.data))
			ways[way](d, files[file])
		}
	}
}

// must ends the test on an error.
func (d *damaged) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// The ways to damage a file.

func flip(d *damaged, path string) {
	d.rewrite(path, func(b []byte) []byte {
		b[d.random.IntN(len(b))] ^= 1 << d.random.IntN(8)
		return b
	})
}

func cut(d *damaged, path string) {
	d.rewrite(path, func(b []byte) []byte { return b[:inside(b, d.random.IntN(len(b)))] })
}

// inside is the first place from n on that is within a record of the log: if it ends between two, nobody can know that
// there were more.
func inside(b []byte, n int) int {
	const page, header = 32 << 10, 7 // kind, length, checksum
	for at := 0; at+header < len(b) && at <= n; {
		end := at + header + int(binary.BigEndian.Uint16(b[at+1:]))
		if b[at] == 0 || at%page+header > page { // The rest of the page is empty.
			end = (at/page + 1) * page
			n = max(n, min(end, len(b)))
		} else if n == at {
			return n + 1
		}
		at = end
	}
	return n
}

func zeroes(d *damaged, path string) {
	d.rewrite(path, func(b []byte) []byte {
		begin := d.random.IntN(len(b))
		clear(b[begin : begin+d.random.IntN(len(b)-begin)+1])
		return b
	})
}

func scrambled(d *damaged, path string) {
	d.rewrite(path, func(b []byte) []byte {
		begin := d.random.IntN(len(b))
		scramble(d.random, b[begin:begin+d.random.IntN(len(b)-begin)+1])
		return b
	})
}

func appended(d *damaged, path string) {
	d.rewrite(path, func(b []byte) []byte {
		more := make([]byte, 1+d.random.IntN(100_000))
		scramble(d.random, more)
		return append(b, more...)
	})
}

func missing(d *damaged, path string) { d.must(os.RemoveAll(path)) }

func scramble(random *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(random.Uint32())
	}
}

// rewrite changes a file, which all of its names show.
func (d *damaged) rewrite(path string, change func([]byte) []byte) {
	d.t.Helper()
	b, err := os.ReadFile(path)
	d.must(err)
	if len(b) > 0 {
		d.must(os.WriteFile(path, change(b), 0o600))
	}
}
