// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"torchbearer/config"
)

func TestABrokenFileAtStartRunsOnTheLastGoodConfig(t *testing.T) {
	tg, rc := newTarget(t, ""), newReceiver(t)
	dir := t.TempDir()
	good := configText(rc.URL, v2, job("app", tg.Address(), ""))
	a := start(t, dir, good, nil)
	until(t, "the target is scraped", func() bool { return tg.served.Load() > 0 })
	if err := a.stop(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(store{a.dir}.path())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the last good config has mode %o, want 600", info.Mode().Perm())
	}

	scraped := tg.served.Load()
	a = start(t, dir, "", func(o *Options) {
		write(t, o.ConfigFile, "")
		o.ReloadInterval = 20 * time.Millisecond
	})
	until(t, "the target is scraped on", func() bool { return tg.served.Load() > scraped })
	until(t, "the gauges tell", func() bool { return cmp.Equal(wantGauges(0, 1), gauges(t, a)) })
	if notice := a.Notice(); !strings.Contains(notice, "last good config") || !strings.Contains(notice, "remote_write") {
		t.Errorf("notice is %q", notice)
	}
	write(t, a.file, good)
	until(t, "the mended file is taken", func() bool { return cmp.Equal(wantGauges(1, 0), gauges(t, a)) })
	if a.Notice() != "" {
		t.Errorf("notice is still %q", a.Notice())
	}
}

func TestABadFileAndNoGoodOneIsABadConfig(t *testing.T) {
	for name, kept := range map[string]string{"none kept": "", "a damaged one": "{", "one that is bad now": `{"main":{"path":"/x","content":"global: {}"}}`} {
		t.Run(name, func(t *testing.T) {
			opts := options(t, t.TempDir())
			write(t, opts.ConfigFile, "remote_write: [{url: 1")
			if kept != "" {
				if err := os.MkdirAll(opts.WAL.Dir, 0o700); err != nil {
					t.Fatal(err)
				}
				write(t, store{opts.WAL.Dir}.path(), kept)
			}
			_, err := New(opts)
			var bad *BadConfigError
			if !errors.As(err, &bad) || !bad.BadConfig() || !strings.Contains(err.Error(), opts.ConfigFile) {
				t.Errorf("New returned %v, want a bad config that names the file", err)
			}
			if kept != "" && !strings.Contains(err.Error(), "last good") {
				t.Errorf("%v does not say why the last good config did not serve", err)
			}
		})
	}
}

func TestStoreReplacesWholeOrNotAtAll(t *testing.T) {
	s := store{t.TempDir()}
	if _, err := s.load(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("load from nothing returned %v", err)
	}
	want := &config.Source{Main: config.File{Path: "/etc/x.yaml", Content: "a: 1\n"}, Files: []config.File{{Path: "/etc/y.yaml", Content: "b"}}}
	for range 2 {
		if err := s.save(want); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.load()
	if err != nil {
		t.Fatal(err)
	}
	wantJSON, _ := json.Marshal(want)
	gotJSON, _ := json.Marshal(got)
	if diff := cmp.Diff(string(wantJSON), string(gotJSON)); diff != "" {
		t.Error(diff)
	}
	entries, err := os.ReadDir(s.dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v %v", entries, err)
	}
}
