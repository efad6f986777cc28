// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// prepare makes a data directory for an agent that is not root: Kubernetes makes
// a hostPath for root only, and no fsGroup changes that.
type prepare struct{ dir, owner string }

func (p *prepare) run(stderr io.Writer) int {
	uid, gid, err := p.ids()
	if err != nil {
		fmt.Fprintln(stderr, "torchbearer:", err)
		return exitUsage
	}
	if err := p.give(uid, gid); err != nil {
		fmt.Fprintf(stderr, "torchbearer: prepare the data directory: %v; run it as root with the capabilities CHOWN, FOWNER and DAC_OVERRIDE\n", err)
		return exitFailure
	}
	return exitClean
}

func (p *prepare) ids() (uid, gid int, err error) {
	user, group, found := strings.Cut(p.owner, ":")
	uid, userErr := strconv.Atoi(user)
	gid, groupErr := strconv.Atoi(group)
	if !found || userErr != nil || groupErr != nil || uid < 0 || gid < 0 {
		return 0, 0, fmt.Errorf("--owner %q: write it as two numbers, such as 65532:65532", p.owner)
	}
	return uid, gid, nil
}

// give makes everything in the directory the user's. Links are not followed, by
// a Root: whoever can write into the directory must not be given other files.
func (p *prepare) give(uid, gid int) (err error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := root.Chmod(".", 0o700); err != nil {
		return err
	}
	return fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return root.Lchown(filepath.FromSlash(path), uid, gid)
	})
}
