// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"errors"
	"io"
	"sync"
)

// errBodyOver is what the transport gets that reads on after the answer.
var errBodyOver = errors.New("there is an answer already")

// sendBody is what one attempt sends. A transport may go on reading it when the
// answer is there, in a goroutine of its own: after end it cannot.
type sendBody struct {
	mu      sync.Mutex // guards the fields below
	content []byte
	over    bool
}

func newSendBody(content []byte) *sendBody { return &sendBody{content: content} }

// open returns a reader from the beginning on.
func (b *sendBody) open() io.ReadCloser { return &sendReader{body: b} }

// end lets nobody touch the content any more.
func (b *sendBody) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.content, b.over = nil, true
}

// sendReader is for one goroutine at a time.
type sendReader struct {
	body *sendBody
	at   int
}

// Read implements io.Reader.
func (r *sendReader) Read(p []byte) (int, error) {
	r.body.mu.Lock()
	defer r.body.mu.Unlock()
	if r.body.over {
		return 0, errBodyOver
	}
	n := copy(p, r.body.content[r.at:])
	if r.at += n; n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Close implements io.Closer. The end ends it.
func (*sendReader) Close() error { return nil }
