// SPDX-License-Identifier: Apache-2.0

//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

func damagedSegments() []damageCase {
	in := func(name string, way func(*damaged, string), segment int, loses float64) damageCase {
		c := damageCase{name: name, do: func(d *damaged) { way(d, d.segment(segment)) }, loses: loses}
		if loses > 0 {
			c.named = "00000001/0000000"
		}
		return c
	}
	// Each has a fifth or so of what one of two starts has scraped; the first one also says what the series are.
	const one = 0.25
	return []damageCase{
		in("a bit of a segment is flipped", flip, 1, one),
		in("a segment is cut", cut, 1, one),
		in("a segment has zeroes", zeroes, 1, one),
		in("a segment has garbage", scrambled, 1, one),
		in("garbage behind a segment", appended, 1, 0),
		in("a bit of the first segment is flipped", flip, 0, 0.5),
		in("the first segment has garbage", scrambled, 0, 0.5),
		in("a segment is missing", missing, 1, one),
		in("a segment is a pipe", fifo, 1, one),
		in("a segment is a link", symlink, 1, one),
		in("a segment is a folder", folder, 1, one),
		{name: "the last segment of a start is cut", do: func(d *damaged) { cut(d, d.last(filepath.Dir(d.segment(0)))) }, loses: one},
		{name: "the last segment of a start is a pipe", do: func(d *damaged) { fifo(d, d.last(filepath.Dir(d.segment(0)))) }, loses: one},
		{name: "the newest segment has garbage", do: func(d *damaged) { scrambled(d, d.last(d.newest())) }, loses: one},
		{name: "the hold lacks a segment that the log has", do: func(d *damaged) { missing(d, d.last(d.newest())) }},
		// The log has it still.
		{name: "the hold has a link for a segment", do: func(d *damaged) { symlink(d, d.last(d.newest())) }},
		{name: "the hold has a pipe for a segment", do: func(d *damaged) { fifo(d, d.last(d.newest())) }},
		{name: "the hold has a folder for a segment", do: func(d *damaged) { folder(d, d.last(d.newest())) }},
		{name: "the directory was copied without hard links", do: (*damaged).unlink},
		{name: "checkpoints have garbage", do: func(d *damaged) {
			names, _ := filepath.Glob(filepath.Join(d.data, "hold", "*", "checkpoint.*", "0*"))
			for _, name := range names {
				scrambled(d, name)
			}
		}},
		{name: "checkpoints are missing", do: func(d *damaged) {
			names, _ := filepath.Glob(filepath.Join(d.data, "*", "*", "checkpoint.*"))
			for _, name := range names {
				missing(d, name)
			}
		}},
	}
}

func (d *damaged) last(folder string) string {
	d.t.Helper()
	all := d.list(folder)
	if len(all) == 0 {
		d.t.Fatalf("%s has no segments", folder)
	}
	return all[len(all)-1]
}

func damagedJournals() []damageCase {
	in := func(name string, way func(*damaged, string), named string) damageCase {
		return damageCase{name: name, do: func(d *damaged) { way(d, d.journal()) }, named: named}
	}
	empty := func(d *damaged, path string) { d.must(os.WriteFile(path, nil, 0o600)) }
	wild := func(d *damaged, path string) {
		d.rewrite(path, func(b []byte) []byte { scramble(d.random, b); return b })
	}
	return []damageCase{
		in("a bit of the journal is flipped", flip, ""),
		in("the journal is cut", cut, ""),
		in("the journal has zeroes", zeroes, ""),
		in("the journal has garbage", scrambled, ""),
		in("the journal is garbage", wild, ".journal"),
		in("the journal is empty", empty, ".journal"),
		in("the journal is missing", missing, ""),
		in("the journal is a pipe", fifo, ".journal"),
		in("the journal is a link", symlink, ".journal"),
		in("the journal is a folder", folder, ".journal"),
		{name: "all journals are missing", do: func(d *damaged) { missing(d, filepath.Join(d.data, "ship")) }},
	}
}

func damagedFolders() []damageCase {
	in := func(name string, way func(*damaged, string), path string) damageCase {
		return damageCase{name: name, do: func(d *damaged) { way(d, filepath.Join(d.data, path)) }}
	}
	refuses := func(c damageCase, why string) damageCase {
		c.refused = why
		return c
	}
	return []damageCase{
		{name: "foreign files", do: (*damaged).foreign},
		{name: "the log is missing", do: (*damaged).withoutLog},
		in("the number of the start is missing", missing, "generation"),
		in("the number of the start is a pipe", fifo, "generation"),
		in("the number of the start is a folder", folder, "generation"),
		in("the number of the start is garbage", scrambled, "generation"),
		in("the last good config is garbage", scrambled, "last-good-config.json"),
		in("the last good config is a folder", folder, "last-good-config.json"),
		in("the lock is garbage", appendLock, "lock"),
		// What only the hold had is gone, and the journal knows that there was something.
		{name: "the hold is missing", do: func(d *damaged) { missing(d, filepath.Join(d.data, "hold")) }, loses: 0.9},
		{name: "the hold of the first start is missing", do: func(d *damaged) { missing(d, filepath.Dir(d.segment(0))) }, loses: 0.7},
		refuses(in("the log is a file", file, "wal"), "is not a folder"),
		refuses(in("the log is a pipe", fifoUndone, "wal"), "is not a folder"),
		refuses(in("the hold is a file", file, "hold"), "is not a folder"),
		refuses(in("the journals' folder is a file", file, "ship"), "ship"),
		refuses(in("the hold is on another file system", otherDisk, "hold"), "hard links"),
		refuses(in("the hold is a link", linkUndone, "hold"), "is not a folder"),
		refuses(in("the directory is read-only", readOnly, ""), "not writable: read-only file system"),
		refuses(in("the lock is a folder", folderUndone, "lock"), "lock is not a file; move it away"),
		refuses(in("the lock is a pipe", fifoUndone, "lock"), "lock is not a file; move it away"),
		refuses(in("the lock is a link", linkUndone, "lock"), "lock is not a file; move it away"),
		refuses(damageCase{name: "two agents", do: (*damaged).second}, "locked by another agent"),
	}
}

func fifo(d *damaged, path string) {
	d.must(os.RemoveAll(path))
	d.must(syscall.Mkfifo(path, 0o600))
}

func symlink(d *damaged, path string) {
	d.must(os.RemoveAll(path))
	d.must(os.Symlink("/dev/zero", path))
}

func folder(d *damaged, path string) {
	d.must(os.RemoveAll(path))
	d.must(os.MkdirAll(filepath.Join(path, "foreign"), 0o700))
}

// aside moves something away until the agent has refused to start.
func (d *damaged) aside(path string) {
	d.t.Helper()
	d.must(os.Rename(path, path+".aside"))
	d.undo = append(d.undo, func() {
		d.must(os.RemoveAll(path))
		d.must(os.Rename(path+".aside", path))
	})
}

func file(d *damaged, path string) {
	d.aside(path)
	d.must(os.WriteFile(path, []byte("text"), 0o600))
}

func folderUndone(d *damaged, path string) {
	d.aside(path)
	folder(d, path)
}

func fifoUndone(d *damaged, path string) {
	d.aside(path)
	fifo(d, path)
}

func linkUndone(d *damaged, path string) {
	d.aside(path)
	d.must(os.Symlink(path+".aside", path))
}

func otherDisk(d *damaged, path string) {
	d.must(os.Rename(path, path+".aside"))
	d.must(os.Mkdir(path, 0o700))
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size=4m"); err != nil {
		d.t.Skipf("a folder cannot be mounted, which takes root: %v", err)
	}
	d.undo = append(d.undo, func() {
		d.must(os.Remove(path))
		d.must(os.Rename(path+".aside", path))
	})
	d.undo = append(d.undo, func() { d.must(syscall.Unmount(path, syscall.MNT_DETACH)) })
}

func readOnly(d *damaged, path string) {
	if err := syscall.Mount(path, path, "", syscall.MS_BIND, ""); err != nil {
		d.t.Skipf("a folder cannot be mounted, which takes root: %v", err)
	}
	unmount := func() { d.must(syscall.Unmount(path, syscall.MNT_DETACH)) }
	d.undo = append(d.undo, unmount)
	if err := syscall.Mount("", path, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		unmount()
		d.t.Skipf("a folder cannot be made read-only: %v", err)
	}
}

func appendLock(d *damaged, path string) { d.must(os.WriteFile(path, []byte("garbage"), 0o600)) }

// foreign puts files everywhere that are none of the agent's.
func (d *damaged) foreign() {
	for _, in := range []string{"", "wal", "hold", "hold/00000001", "ship"} {
		for _, name := range []string{"notes.txt", "00000001.txt", "1", "999999999", "checkpoint.x", ".hidden", "core.journal.old"} {
			d.must(os.WriteFile(filepath.Join(d.data, in, name), []byte(strings.Repeat("text ", 1000)), 0o600))
		}
		fifo(d, filepath.Join(d.data, in, "pipe"))
		symlink(d, filepath.Join(d.data, in, "link"))
		folder(d, filepath.Join(d.data, in, "lost+found"))
	}
}

// second runs another agent in the directory until this one has refused to start.
func (d *damaged) second() {
	d.start()
	first := d.agent
	d.undo = append(d.undo, func() {
		d.agent = first
		d.again() // It is not disturbed.
		d.term()
	})
}

// unlink makes each name of a file one of its own.
func (d *damaged) unlink() {
	whole := d.data + ".copy"
	d.must(os.CopyFS(whole, os.DirFS(d.data)))
	d.must(os.RemoveAll(d.data))
	d.must(os.Rename(whole, d.data))
}

// withoutLog removes what the log has, but for a segment that was begun just before the kill: the hold has it a second later.
func (d *damaged) withoutLog() {
	d.t.Helper()
	all := filepath.Join(d.data, "wal")
	names, _ := filepath.Glob(filepath.Join(all, "????????"))
	held := 0
	for _, name := range names {
		info, err := os.Stat(name)
		d.must(err)
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 {
			missing(d, name)
			held++
		}
	}
	if held == 0 {
		d.t.Error("the hold has nothing of the log")
	}
	if held == len(names) {
		missing(d, all)
	}
}
