// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"torchbearer/e2e/process"
)

const lastGood = "torchbearer_config_last_good_in_use"

// TestLastGoodConfig: a bad file does not keep a restarted agent from its work; it takes the file when it is mended.
func TestLastGoodConfig(t *testing.T) {
	t.Parallel()
	dest := startReceiver(t)
	app := startTarget(t, exposes(plain, "app 1\n"))
	good := global(time.Second) + remoteWrite(dest.URL(), soon) + jobs(job("app", []string{app}))

	first := startAgent(t, good)
	wantUp(t, first, dest, "app")
	first.wantMetric(t, lastGood, 0)
	stop(t, first)
	wantPrivate(t, first.data)

	before := dest.Total()
	second := runAgent(t, first.dir, broken(dest), "--config.auto-reload-interval=1s")
	second.until(t, 60*time.Second, "it works on the last good config", func(ctx context.Context) error {
		status, body, err := process.Get(ctx, second.url+"/-/ready")
		if err != nil {
			return err
		}
		if status != 200 || !strings.Contains(body, "last good") {
			return fmt.Errorf("/-/ready answers %d: %s", status, body)
		}
		return atLeast("samples", dest.Total(), before+1)
	})
	second.wantMetric(t, lastGood, 1)
	second.wantMetric(t, success, 0)
	if !strings.Contains(second.Output(), "last good") {
		t.Error("the log does not tell that the last good config is in use")
	}

	writeFile(t, second.config, strings.Replace(good, "job_name: app", "job_name: mended", 1))
	second.wantMetric(t, lastGood, 0)
	second.wantMetric(t, success, 1)
	wantUp(t, second, dest, "mended")
	stop(t, second)
	wantMandatory(t, dest)
}

// wantPrivate checks that nobody else can read a config that may hold secrets.
func wantPrivate(t *testing.T, dir string) {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), "remote_write:") {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			err = fmt.Errorf("%s has mode %v, want 0600", path, info.Mode().Perm())
		}
		found = true
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if !found {
		t.Errorf("no file below %s holds the last good config", dir)
	}
}
