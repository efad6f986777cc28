// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Torchbearer finds the built program: the environment variable TORCHBEARER_BIN, else bin/torchbearer-race, else
// bin/torchbearer of the repository.
func Torchbearer() (string, error) {
	if path := os.Getenv("TORCHBEARER_BIN"); path != "" {
		return executable(path, "TORCHBEARER_BIN names it")
	}
	root, err := repository()
	if err != nil {
		return "", err
	}
	if path, err := executable(filepath.Join(root, "bin", "torchbearer-race"), ""); err == nil {
		return path, nil
	}
	return executable(filepath.Join(root, "bin", "torchbearer"), "run make build")
}

// Neighbour finds a program that e2e/neighbours.sh builds.
func Neighbour(name string) (string, error) {
	root, err := repository()
	if err != nil {
		return "", err
	}
	return executable(filepath.Join(root, ".cache", "bin", name), "run make neighbours")
}

func executable(path, hint string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("%w (%s)", err, hint)
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return "", fmt.Errorf("%s is not a program (%s)", path, hint)
	}
	return filepath.Abs(path)
}

// repository is the folder above that holds e2e/go.mod.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "e2e", "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the repository: no folder above the working directory holds e2e/go.mod")
		}
		dir = parent
	}
}
