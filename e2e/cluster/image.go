// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"runtime"
)

// An Image is a container image of static programs; nothing can be pulled where the tests run.
type Image struct {
	Name       string // with registry and tag: docker.io/local/name:1
	Entrypoint []string
	User       string // uid:gid
	WorkingDir string
	Files      map[string]string // path in the image: file to take
	Folders    []string          // that the user may write to
}

// write makes an archive as `docker save` does, with one layer.
func (i Image) write(to io.Writer) error {
	layer, err := i.layer()
	if err != nil {
		return err
	}
	digest := hexSum(layer)
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": i.Entrypoint, "User": i.User, "WorkingDir": i.WorkingDir},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest}},
	})
	if err != nil {
		return err
	}
	configName, layerName := hexSum(config)+".json", digest+"/layer.tar"
	manifest, err := json.Marshal([]map[string]any{
		{"Config": configName, "RepoTags": []string{i.Name}, "Layers": []string{layerName}},
	})
	if err != nil {
		return err
	}
	archive := tar.NewWriter(to)
	return errors.Join(
		add(archive, configName, 0o644, bytes.NewReader(config), int64(len(config))),
		add(archive, layerName, 0o644, bytes.NewReader(layer), int64(len(layer))),
		add(archive, "manifest.json", 0o644, bytes.NewReader(manifest), int64(len(manifest))),
		archive.Close(),
	)
}

func (i Image) layer() ([]byte, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	for _, folder := range append([]string{"/tmp"}, i.Folders...) {
		header := &tar.Header{Name: path.Clean(folder)[1:] + "/", Typeflag: tar.TypeDir, Mode: 0o1777}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
	}
	for name, file := range i.Files {
		if err := addFile(archive, name[1:], file); err != nil {
			return nil, err
		}
	}
	return buffer.Bytes(), archive.Close()
}

func addFile(archive *tar.Writer, name, file string) error {
	content, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }() // It was only read.
	info, err := content.Stat()
	if err != nil {
		return err
	}
	return add(archive, name, 0o755, content, info.Size())
}

func add(archive *tar.Writer, name string, mode int64, content io.Reader, size int64) error {
	if err := archive.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: size}); err != nil {
		return err
	}
	_, err := io.Copy(archive, content)
	return err
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
