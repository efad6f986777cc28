// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// timerSlack is how much later than asked for the kernel may wake a thread.
	// With more, scrapes begin later than the two milliseconds after their time
	// within which they get the planned timestamp: measured for 1 ms 7 of 1,000,
	// for 1.5 ms 56, for 2 ms 210.
	timerSlack = time.Millisecond
	// slackVariable says that this process was started again. A user who sets it
	// has a process with the slack that it was started with.
	slackVariable = "TORCHBEARER_TIMER_SLACK"
)

// startRelaxed starts the program again, in the same process, with timerSlack.
// It returns when that is done already, or cannot be done: then all is the same
// but for what it costs.
//
// While any goroutine runs, Go's runtime has a thread that sleeps for 20 µs at a
// time to look after the others. An agent works a few milliseconds at a time, a
// dozen times a second, and a tenth of what that took were these looks. Threads
// have the slack of the one that starts them, and the runtime starts that one
// before any code of ours: so the slack has to be there before the program is.
// https://man7.org/linux/man-pages/man2/PR_SET_TIMERSLACK.2const.html
//
// What it saves: go run ./bench in e2e, with the variable set and without.
func startRelaxed() {
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || time.Duration(slack) >= timerSlack || os.Getenv(slackVariable) != "" {
		return
	}
	path, err := os.Executable()
	if err != nil {
		return
	}
	if unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) == nil {
		_ = syscall.Exec(path, os.Args, append(os.Environ(), slackVariable+"="+timerSlack.String()))
	}
}
