// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const cgroupPrefix = "torchbearer-e2e-"

// makeCgroup makes a cgroup of this name, as whose children kubelet and containerd make theirs: in each hierarchy
// where there are several (cgroup v1).
func makeCgroup(name string) error {
	for _, root := range cgroupRoots() {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

func cgroupRoots() []string {
	const mount = "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(mount, "cgroup.procs")); err == nil {
		return []string{mount}
	}
	roots, _ := filepath.Glob(mount + "/*/cgroup.procs") // The pattern is a good one.
	for i, file := range roots {
		roots[i] = filepath.Dir(file)
	}
	return roots
}

// sweepCgroups removes this cgroup, and those of clusters whose test has been killed; cgroups with processes stay.
func sweepCgroups(mine string) {
	for _, root := range cgroupRoots() {
		found, _ := filepath.Glob(filepath.Join(root, cgroupPrefix+"*")) // The pattern is a good one.
		for _, dir := range found {
			name := filepath.Base(dir)
			pid, err := strconv.Atoi(strings.TrimPrefix(name, cgroupPrefix))
			if name != mine && (err != nil || syscall.Kill(pid, 0) == nil) {
				continue
			}
			removeCgroup(dir)
		}
	}
}

func hasCgroup(name string) bool {
	return slices.ContainsFunc(cgroupRoots(), func(root string) bool {
		_, err := os.Stat(filepath.Join(root, name))
		return err == nil
	})
}

func removeCgroup(dir string) {
	var all []string
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			all = append(all, path)
		}
		return nil // What cannot be read has just gone.
	})
	for _, path := range slices.Backward(all) {
		_ = os.Remove(path) // What has processes stays; the next start tries again.
	}
}
