// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// TestCloseWhileATruncationBegins: the library waits for itself for ever if it
// is closed in the moment in which it begins to truncate. The clock makes that
// moment the same here.
func TestCloseWhileATruncationBegins(t *testing.T) {
	root := t.TempDir()
	for i := range 100 {
		synctest.Test(t, func(t *testing.T) {
			l, _ := open(t, filepath.Join(root, strconv.Itoa(i)), &follower{}, func(o *Options) { o.TruncateFrequency = time.Minute })
			mustWrite(t, l, 1, 0, 1)
			time.Sleep(time.Minute)
			closeLog(t, l)
		})
	}
}
