// SPDX-License-Identifier: Apache-2.0

//go:build unix

package agent

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// simDisk is what was on the disk at some time: what of the log, and of the
// journals, a power cut cannot take any more.
type simDisk struct {
	sizes    map[uint64]int64  // by inode
	journals map[string][]byte // by path under the directory
}

func inode(info fs.FileInfo) uint64 { return info.Sys().(*syscall.Stat_t).Ino }

// look remembers a data directory.
func look(dir string) (simDisk, error) {
	d := simDisk{sizes: map[uint64]int64{}, journals: map[string][]byte{}}
	err := walkFiles(dir, func(path string, info fs.FileInfo) error {
		d.sizes[inode(info)] = info.Size()
		if strings.HasSuffix(path, ".journal") {
			content, err := os.ReadFile(filepath.Join(dir, path))
			d.journals[path] = content
			return err
		}
		return nil
	})
	return d, err
}

// copyDirectory copies a data directory, links as links, until nothing changes
// while it does: what it copies is that of one instant.
func copyDirectory(from, to string) error {
	for range 1000 {
		before, err := look(from)
		if err == nil {
			err = copyOnce(from, to)
		}
		after, lookErr := look(from)
		if err == nil && lookErr == nil && fmt.Sprint(before) == fmt.Sprint(after) {
			return nil
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s does not stand still", from)
}

func copyOnce(from, to string) error {
	copied := map[uint64]string{}
	if err := os.MkdirAll(to, 0o777); err != nil {
		return err
	}
	if err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		return os.MkdirAll(filepath.Join(to, strings.TrimPrefix(path, from)), 0o777)
	}); err != nil {
		return err
	}
	return walkFiles(from, func(path string, info fs.FileInfo) error {
		target := filepath.Join(to, path)
		if first, ok := copied[inode(info)]; ok {
			return os.Link(first, target)
		}
		copied[inode(info)] = target
		content, err := os.ReadFile(filepath.Join(from, path))
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o666)
	})
}

// walkFiles tells of each regular file by its path under dir.
func walkFiles(dir string, tell func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return tell(strings.TrimPrefix(strings.TrimPrefix(path, dir), string(filepath.Separator)), info)
	})
}

// cutPower takes from the copy of a directory some of what was written to its log
// and its journals since.
func cutPower(rnd *rand.Rand, since simDisk, from, copied string) error {
	done := map[uint64]bool{}
	return walkFiles(from, func(path string, info fs.FileInfo) error {
		target := filepath.Join(copied, path)
		if old, ok := since.journals[path]; ok {
			content, err := os.ReadFile(target)
			if err != nil {
				return err
			}
			half := len(content) / 2
			for slot := range 2 {
				if rnd.IntN(2) == 0 {
					copy(content[slot*half:(slot+1)*half], old[slot*half:])
				}
			}
			return os.WriteFile(target, content, 0o666)
		}
		segment := strings.HasPrefix(path, "wal/0") || strings.HasPrefix(path, "hold/") && !strings.Contains(path, "checkpoint") && !strings.HasSuffix(path, ".series")
		if !segment || done[inode(info)] {
			return nil
		}
		done[inode(info)] = true
		if least := since.sizes[inode(info)]; least < info.Size() {
			return os.Truncate(target, least+rnd.Int64N(info.Size()-least+1))
		}
		return nil
	})
}
