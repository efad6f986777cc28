// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"torchbearer/agent/logged"
)

// TestWriteUntilKilled is not a test: TestKilledProcessesLoseNothing runs it.
func TestWriteUntilKilled(t *testing.T) {
	dir := os.Getenv("TORCHBEARER_TEST_DIR")
	if dir == "" {
		t.Skip("of another test")
	}
	at, err := strconv.ParseInt(os.Getenv("TORCHBEARER_TEST_AT"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	l, _ := open(t, dir, &follower{}, busy)
	l.Claim(logged.Position{}, nil)
	go l.Run(t.Context())
	for ; ; at++ {
		mustWrite(t, l, at, int(at)*5, 50) // a tenth of the series is new
		fmt.Println("committed", at)
	}
}

func TestKilledProcessesLoseNothing(t *testing.T) {
	dir, kills := t.TempDir(), 8
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	at := int64(0) // committed last
	want := map[string]int{}
	truncated := func() bool {
		checkpoints, err := filepath.Glob(filepath.Join(dir, holdFolder, "*", "checkpoint.*"))
		return err == nil && len(checkpoints) > 0
	}
	for life := range kills {
		cmd := exec.Command(os.Args[0], "-test.run=^TestWriteUntilKilled$")
		cmd.Env = append(os.Environ(), "TORCHBEARER_TEST_DIR="+dir, fmt.Sprintf("TORCHBEARER_TEST_AT=%d", at+2))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		until := time.Duration(rnd.IntN(150)) * time.Millisecond
		begun := time.Now()
		// The last one lives until the log has been truncated and is worth a look,
		// which takes a slow machine, or short lives, longer than that.
		due := func() bool {
			lived := time.Since(begun)
			return lived > until && (life < kills-1 || len(want) >= 1000 && truncated() || lived > time.Minute)
		}
		killed := false
		for lines.Scan() {
			if n, err := fmt.Sscanf(lines.Text(), "committed %d", &at); n != 1 || err != nil {
				t.Fatal(lines.Text())
			}
			for i := range 50 {
				want[fmt.Sprintf("s%d@%d", int(at)*5+i, at)]++
			}
			if !killed && due() {
				killed = true
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err == nil || !killed {
			t.Fatalf("it ended by itself: %v", err)
		}
	}
	l, _ := open(t, dir, &follower{})
	defer closeLog(t, l)
	found := samples(t, l, logged.Position{})
	times := map[string]int{}
	for _, s := range found {
		times[s]++
	}
	lost, twice := 0, 0
	for s := range want {
		if times[s] == 0 {
			lost++
		}
	}
	for _, n := range times {
		if n > 1 {
			twice++
		}
	}
	if !truncated() {
		t.Error("nothing was truncated")
	}
	if lost > 0 || twice > 0 || len(found) < 1000 {
		t.Errorf("%d of %d samples are lost, %d are there twice", lost, len(found), twice)
	}
}
