// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"torchbearer/config"
)

// store keeps the last good config in the data directory. The file has what the
// config files have, secrets included, so only its owner may read it.
type store struct{ dir string }

func (s store) path() string { return filepath.Join(s.dir, "last-good-config.json") }

// save replaces the kept config by src, whole or not at all.
func (s store) save(src *config.Source) (err error) {
	content, err := json.Marshal(src)
	if err != nil {
		return fmt.Errorf("encode config: %w", err)
	}
	// CreateTemp makes files of mode 0600.
	f, err := os.CreateTemp(s.dir, ".last-good-*")
	if err != nil {
		return fmt.Errorf("keep config: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("keep config: %w", err), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), s.path())
}

// load returns the kept config, or an error that is os.ErrNotExist.
func (s store) load() (*config.Source, error) {
	content, err := os.ReadFile(s.path())
	if err != nil {
		return nil, fmt.Errorf("read last good config: %w", err)
	}
	src := &config.Source{}
	if err := json.Unmarshal(content, src); err != nil {
		return nil, fmt.Errorf("read last good config %s: %w", s.path(), err)
	}
	return src, nil
}
