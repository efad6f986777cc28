// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"torchbearer/agent/host"
	"torchbearer/agent/web"
)

// bundleTimeout is for the whole of a support bundle. The agent takes a minute at most.
const bundleTimeout = 3 * time.Minute

// supportFiles are what the web surface cannot tell of itself.
func (f *flags) supportFiles() []web.SupportFile {
	return []web.SupportFile{
		{Name: "host.txt", About: "the machine: system, clock, limits of memory and processors, disk", Write: func(ctx context.Context, w io.Writer) error {
			return host.Facts(ctx, w, f.storagePath)
		}},
		{Name: "data.txt", About: "what is in the data directory: names and sizes", Write: func(ctx context.Context, w io.Writer) error {
			return host.Files(ctx, w, f.storagePath)
		}},
	}
}

// support fetches a bundle from a running agent.
type support struct {
	client client
	output string
	given  bool // -o
}

func (s *support) flags(cmd *kingpin.CmdClause) {
	s.client.flags(cmd)
	cmd.Flag("output", "File to write, - for the standard output. Defaults to the name that the agent gives it, in the working directory.").
		Short('o').PlaceHolder("<file>").IsSetByUser(&s.given).StringVar(&s.output)
}

func (s *support) run(stdout, stderr io.Writer) int {
	ctx, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer release()
	ctx, cancel := context.WithTimeout(ctx, bundleTimeout)
	defer cancel()
	if err := s.fetch(ctx, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "torchbearer: get a support bundle:", err)
		return exitFailure
	}
	return exitClean
}

func (s *support) fetch(ctx context.Context, stdout, stderr io.Writer) (err error) {
	resp, err := s.client.get(ctx, "api/v1/support", nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // It was only read.
	if kind := resp.Header.Get("Content-Type"); kind != "application/gzip" {
		return fmt.Errorf("%s answered with %q and not with a bundle; is it a torchbearer?", s.client.url, kind)
	}
	if s.output == "-" || s.given && s.output == "" { // Kingpin makes "" of the - in `-o -`.
		_, err := receive(resp.Body, stdout, stderr)
		return err
	}
	name := s.output
	if name == "" {
		name = fileName(resp)
	}
	file, err := os.CreateTemp(filepath.Dir(name), ".torchbearer-support-*") // Only for its user, and under its name when it is whole.
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	files, err := receive(resp.Body, file, stderr)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), name); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s: %d files; secrets of the config are hidden, names and addresses are not: look before you pass it on\n", name, files)
	return nil
}

// fileName is the name that the agent gives the bundle, if it is one that harms nothing.
func fileName(resp *http.Response) string {
	_, params, err := mime.ParseMediaType(resp.Header.Get("Content-Disposition"))
	if name := path.Base(params["filename"]); err == nil && regexp.MustCompile(`^torchbearer-[A-Za-z0-9_-]+\.tar\.gz$`).MatchString(name) {
		return name
	}
	return "torchbearer-support.tar.gz"
}

// receive copies a bundle, and reads it meanwhile, to its end: a part of one is no bundle. What the agent could not put
// into it is told.
func receive(from io.Reader, to, stderr io.Writer) (files int, err error) {
	copied := io.TeeReader(from, to)
	packed, err := gzip.NewReader(copied)
	if err != nil {
		return 0, incomplete(err)
	}
	bundle := tar.NewReader(packed)
	for {
		header, err := bundle.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return files, incomplete(err)
		}
		files++
		if path.Base(header.Name) == "errors.txt" {
			missing, err := io.ReadAll(io.LimitReader(bundle, 64<<10))
			if err != nil {
				return files, incomplete(err)
			}
			fmt.Fprintf(stderr, "torchbearer: missing in the bundle:\n%s", missing)
		}
	}
	if _, err := io.Copy(io.Discard, packed); err != nil { // The checksum is behind the last file.
		return files, incomplete(err)
	}
	if _, err := io.Copy(io.Discard, copied); err != nil {
		return files, incomplete(err)
	}
	return files, nil
}

func incomplete(err error) error {
	return fmt.Errorf("the bundle did not come whole: %w; try again", err)
}
