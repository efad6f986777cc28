// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"bufio"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// This file is Torchbearer's: the 40 KiB that it takes to unpack an answer
// belong to the scrapes under way, not to each target.

var gzipReaderPool = sync.Pool{New: func() any { return &gzipReader{buf: bufio.NewReader(nil)} }} //nolint:gochecknoglobals // as upstream's zstdDecoderPool

type gzipReader struct {
	gzip.Reader

	buf *bufio.Reader
}

// newGzipReader returns a reader of what r has packed. It is to be released,
// and not used after that.
func newGzipReader(r io.Reader) (*gzipReader, error) {
	g := gzipReaderPool.Get().(*gzipReader)
	g.buf.Reset(r)
	if err := g.Reset(g.buf); err != nil {
		g.release()
		return nil, err
	}
	return g, nil
}

func (g *gzipReader) release() {
	g.buf.Reset(nil)
	gzipReaderPool.Put(g)
}
