// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"torchbearer/agent/disk"
)

// sync brings to the disk what was written to the log since it was called last,
// and the names of new files. It is for one goroutine at a time.
func (h *hold) sync() error {
	h.mu.Lock()
	g := h.writing()
	var paths []string
	newest, size := g.newest(), int64(0)
	for _, s := range g.segments {
		if s.index >= h.synced.segment && !s.stripped {
			paths = append(paths, g.segment(s))
		}
	}
	h.mu.Unlock()
	if err := h.syncFolders(); err != nil {
		return err
	}
	for i, path := range paths {
		var err error
		if size, err = h.syncFile(path, i == len(paths)-1 && newest == h.synced.segment); err != nil {
			return err
		}
	}
	h.synced.segment, h.synced.size = max(newest, 0), size
	return nil
}

// syncFile brings a segment to the disk and returns its size, unless known: then
// it does so only when it has another size than at the last time.
func (h *hold) syncFile(path string, known bool) (size int64, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil // freed
	}
	if err != nil {
		return 0, fmt.Errorf("sync segment: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("sync segment: %w", err)
	}
	if known && info.Size() == h.synced.size {
		return info.Size(), nil
	}
	if err := disk.Sync(f); err != nil {
		return 0, fmt.Errorf("sync segment %s: %w", path, err)
	}
	return info.Size(), nil
}

// syncFolders brings the names of new files to the disk.
func (h *hold) syncFolders() error {
	h.mu.Lock()
	dirs := h.unsynced
	h.unsynced = nil
	h.mu.Unlock()
	for i, dir := range dirs {
		if err := disk.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			h.update(func() { h.unsynced = append(h.unsynced, dirs[i:]...) })
			return err
		}
	}
	return nil
}

// close looks at the log no more: it may be another process's.
func (h *hold) close() { h.update(func() { h.closed = true }) }
