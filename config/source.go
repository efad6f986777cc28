// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxFileBytes   = 16 << 20 // of one config file
	maxSourceBytes = 64 << 20 // of all files of a config together
)

// Source is the text a config came from. It is complete in itself: Parse needs no other config file, so a Source that
// is kept can be parsed when the files are gone.
type Source struct {
	Main  File   `json:"main"`
	Files []File `json:"files,omitempty"` // what scrape_config_files matched, in order

	problems Violations // files that were matched and could not be read
	hints    Violations // patterns that match nothing
}

// File is the text of one file.
type File struct {
	Path    string `json:"path"` // absolute
	Content string `json:"content"`
}

// Hash is the SHA-256, in hex, of all paths and contents.
func (s *Source) Hash() string {
	h := sha256.New()
	for _, f := range append([]File{s.Main}, s.Files...) {
		writeCounted(h, f.Path)
		writeCounted(h, f.Content)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// writeCounted puts the length first, so that moving bytes from one text to the next changes the hash.
func writeCounted(w io.Writer, s string) {
	_, _ = io.WriteString(w, strconv.Itoa(len(s))+"\n"+s) // A hash never fails.
}

// ReadSource reads the config file at path and the files that its scrape_config_files match. A main file that cannot
// be read is an error; other problems wait for Parse, which reports them together with everything else.
func ReadSource(path string) (*Source, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the absolute path of %q: %w", path, err)
	}
	content, problem := readFile(abs)
	if problem != nil {
		return nil, Violations{*problem}
	}
	src := &Source{Main: File{Path: abs, Content: content}}
	src.readScrapeConfigFiles()
	return src, nil
}

// readScrapeConfigFiles reads what the main file's patterns match. A main file that is no YAML has no patterns.
func (s *Source) readScrapeConfigFiles() {
	doc, _ := parseDocument(s.Main)
	if doc == nil {
		return
	}
	patterns := doc.root.get("scrape_config_files")
	if patterns == nil {
		return
	}
	total := len(s.Main.Content)
	for _, pattern := range patterns.items {
		for _, path := range s.match(pattern) {
			f, problem := readFile(path)
			total += len(f)
			if problem == nil && total > maxSourceBytes {
				problem = &Violation{path, 0, fmt.Sprintf("all config files together are larger than %d MiB", maxSourceBytes>>20), "split the work between agents"}
				f = ""
			}
			if problem != nil {
				s.problems = append(s.problems, *problem)
				continue
			}
			s.Files = append(s.Files, File{Path: path, Content: f})
		}
	}
}

// match gives the files of one pattern that no earlier pattern gave.
func (s *Source) match(pattern *node) []string {
	if pattern.kind != scalarNode || pattern.value == "" {
		return nil
	}
	glob := joinDir(filepath.Dir(s.Main.Path), pattern.value)
	paths, err := filepath.Glob(glob)
	if err != nil {
		s.problems = append(s.problems, pattern.violation(fmt.Sprintf("scrape_config_files: %q is no valid pattern", pattern.value), "mend the brackets in it"))
		return nil
	}
	if len(paths) == 0 {
		s.hints = append(s.hints, pattern.violation(fmt.Sprintf("scrape_config_files: no file matches %q", glob), "check the path if there should be one"))
	}
	return slices.DeleteFunc(paths, func(path string) bool {
		return slices.ContainsFunc(s.Files, func(f File) bool { return f.Path == path })
	})
}

// readFile reads a whole config file, but never more than maxFileBytes.
func readFile(path string) (string, *Violation) {
	content, err := readLimited(path)
	if err != nil {
		problem, remedy := explainOpen(err)
		return "", &Violation{path, 0, problem, remedy}
	}
	if i := bytes.IndexByte(content, 0); i >= 0 {
		return "", &Violation{path, lineAt(content, i), "the file holds a NUL byte, so it is no text", "save it as UTF-8 text"}
	}
	if !utf8.Valid(content) {
		return "", &Violation{path, lineAt(content, invalidAt(content)), "the file is not valid UTF-8", "save it as UTF-8 text"}
	}
	return string(content), nil
}

func readLimited(path string) ([]byte, error) {
	// Opening a pipe waits for somebody to write into it.
	if info, err := os.Stat(path); err == nil && !info.IsDir() && !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // It was only read.
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, errIsDir
	case info.Size() > maxFileBytes:
		return nil, tooLargeError(info.Size())
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(content) > maxFileBytes {
		return nil, tooLargeError(len(content))
	}
	return content, err
}

var (
	errIsDir      = errors.New("is a directory")
	errNotRegular = errors.New("is a pipe or a device")
)

// tooLargeError is the size in bytes of a file that is not read.
type tooLargeError int64

func (e tooLargeError) Error() string {
	return fmt.Sprintf("the file has %.1f MiB, the limit is %d MiB", float64(e)/(1<<20), maxFileBytes>>20)
}

// explainOpen says why a file could not be opened, and what to do.
func explainOpen(err error) (problem, remedy string) {
	var tooLarge tooLargeError
	switch {
	case errors.As(err, &tooLarge):
		return err.Error(), "check that it is the right file, or spread the jobs over scrape_config_files"
	case errors.Is(err, errIsDir):
		return "it is a directory, not a file", "name a file in it"
	case errors.Is(err, errNotRegular):
		return "it is a pipe or a device, not a file", "write the config into a file"
	case errors.Is(err, fs.ErrNotExist):
		return "the file does not exist", cmp.Or(otherSpelling(err), "create it, or correct the path")
	case errors.Is(err, fs.ErrPermission):
		return "reading the file is not permitted", fmt.Sprintf("let user %d read it", os.Getuid())
	default:
		if path, ok := errors.AsType[*fs.PathError](err); ok {
			err = path.Err
		}
		return fmt.Sprintf("reading the file: %v", err), "make it readable"
	}
}

// otherSpelling asks for the file beside the one that does not exist, .yml for .yaml or the other way round.
func otherSpelling(err error) string {
	path, ok := errors.AsType[*fs.PathError](err)
	if !ok {
		return ""
	}
	ext := filepath.Ext(path.Path)
	spelling, ok := map[string]string{".yml": ".yaml", ".yaml": ".yml"}[ext]
	other := strings.TrimSuffix(path.Path, ext) + spelling
	if _, err := os.Stat(other); err != nil || !ok {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", filepath.Base(other))
}

// lineAt is the line of the byte at offset.
func lineAt(content []byte, offset int) int { return 1 + bytes.Count(content[:offset], []byte("\n")) }

// invalidAt is the offset of the first byte that is not UTF-8.
func invalidAt(content []byte) int {
	for i := 0; i < len(content); {
		r, size := utf8.DecodeRune(content[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(content)
}

func joinDir(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}
