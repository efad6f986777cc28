// SPDX-License-Identifier: Apache-2.0

package web

import (
	"archive/tar"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/common/version"

	"torchbearer/config"
)

// bundle is one support bundle while it is written: a gzipped tar, part after part, each gathered whole before it is written.
type bundle struct {
	server   *Server
	files    *tar.Writer
	folder   string
	now      time.Time
	profiles bool     // Whether the client may have them.
	left     int      // Bytes that the parts to come may have.
	errs     []string // What could not be had.
}

// support answers with all that helps to find out from afar what is wrong with an agent. It is written while it is gathered,
// one at a time, and what fails or hangs is told in it and left out.
func (s *Server) support(w http.ResponseWriter, r *http.Request) {
	b := &bundle{
		server: s, now: time.Now().UTC(), left: s.limits.bundle,
		profiles: s.opts.EnablePprof || isLoopback(r.RemoteAddr),
	}
	select {
	case s.bundling <- struct{}{}:
		defer func() { <-s.bundling }()
	default:
		w.Header().Set("Retry-After", "10")
		s.fail(w, r, http.StatusServiceUnavailable, "another support bundle is being made; only one at a time is")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.limits.bundleTime)
	defer cancel()
	b.folder = s.bundleName(ctx, b.now)
	w.Header().Set("Content-Type", "application/gzip")
	w.Header().Set("Content-Disposition", `attachment; filename="`+b.folder+`.tar.gz"`)
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return
	}
	packed := gzip.NewWriter(w)
	b.files = tar.NewWriter(packed)
	err := b.write(ctx)
	if err = errors.Join(err, b.files.Close(), packed.Close()); err != nil {
		level.Debug(s.logger).Log("msg", "a support bundle was not taken to its end", "err", err)
		panic(http.ErrAbortHandler) // So that the client does not take it for the whole.
	}
}

// bundleName tells bundles of many agents apart. It is safe as the name of a file. One that hangs has a name, too.
func (s *Server) bundleName(ctx context.Context, now time.Time) string {
	ctx, cancel := context.WithTimeout(ctx, s.limits.partTime/4)
	defer cancel()
	said, _ := s.gather(ctx, supportPart{name: "name", write: func(_ context.Context, w *capped) error {
		cluster := ""
		if s.opts.Cluster != nil {
			cluster = s.opts.Cluster()
		}
		return json.NewEncoder(w).Encode([]string{cluster, s.opts.Scopes().Node})
	}}, longestQuery<<2)
	var who [2]string
	_ = json.Unmarshal(said, &who) // There are words for what was not said.
	host, _ := os.Hostname()
	names := []string{"torchbearer"}
	if who[0] != "" {
		names = append(names, who[0])
	}
	names = append(names, cmp.Or(who[1], host, "unknown"), now.Format("20060102T150405Z"))
	unsafe := regexp.MustCompile(`[^A-Za-z0-9_-]+`) // No dot: it may begin a hidden file.
	for i, name := range names {
		names[i] = unsafe.ReplaceAllString(name[:min(len(name), 63)], "-")
	}
	return strings.Join(names, "-")
}

// write returns an error when the client is gone; all others are told in the bundle.
func (b *bundle) write(ctx context.Context) error {
	parts := b.server.parts
	if err := b.file("README.txt", []byte(b.readme(parts))); err != nil {
		return err
	}
	for _, p := range parts {
		if p.profile && !b.profiles {
			continue
		}
		content, err := b.server.gather(ctx, p, min(b.server.limits.bundlePart, b.left))
		if err != nil {
			b.errs = append(b.errs, fmt.Sprintf("%s: %s", p.name, config.HideSecrets(err.Error())))
		}
		if len(content) == 0 {
			continue
		}
		b.left -= len(content)
		if err := b.file(p.name, content); err != nil {
			return err
		}
	}
	if len(b.errs) == 0 {
		return nil
	}
	return b.file("errors.txt", []byte(strings.Join(b.errs, "\n")+"\n"))
}

func (b *bundle) file(name string, content []byte) error {
	err := b.files.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: b.folder + "/" + name, Size: int64(len(content)), Mode: 0o600, ModTime: b.now,
	})
	if err == nil {
		_, err = b.files.Write(content)
	}
	if err != nil {
		return fmt.Errorf("write %s of a support bundle: %w", name, err)
	}
	return nil
}

func (b *bundle) readme(parts []supportPart) string {
	var text strings.Builder
	fmt.Fprintf(&text, `Support bundle of a Torchbearer agent, made %s.
%s

Passwords, tokens and headers of the config are replaced by <secret>. Names of clusters, nodes, namespaces, pods, jobs and
labels are in it, and addresses: look before you pass it on.

README.txt               this text
`, b.now.Format(time.RFC3339), version.Info())
	for _, p := range parts {
		if !p.profile || b.profiles {
			fmt.Fprintf(&text, "%-24s %s\n", p.name, p.about)
		}
	}
	text.WriteString("errors.txt               what could not be had, and why; not there when nothing is missing\n")
	if !b.profiles {
		text.WriteString("\nLeft out are the profiles (goroutines.txt, heap.pprof): they are for clients on the agent's machine, such as\n" +
			"kubectl exec and kubectl port-forward, or of an agent with --web.enable-pprof.\n")
	}
	text.WriteString("\nA file that would be too large ends with a line that says how much of it is cut.\n")
	return text.String()
}
