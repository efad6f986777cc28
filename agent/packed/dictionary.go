// SPDX-License-Identifier: Apache-2.0

package packed

import (
	"encoding/binary"
	"sync"
	"unsafe"
)

// mostWords are as many as a Dictionary learns before it forgets the first ones.
const mostWords = 1 << 12

// Dictionary has several Packers share memory for what is alike in the labels of different targets: as many expose the same
// metrics, how their labels differ from the first ones of their own target is the same. The zero value is ready. It may be
// used concurrently.
type Dictionary struct {
	mu      sync.Mutex // guards the fields below
	words   map[string]*word
	earlier map[string]*word // those before the last call of Forget
}

// word is bytes, behind their number as uvarint.
type word byte

func newWord(b []byte) (*word, string) {
	all := binary.AppendUvarint(make([]byte, 0, binary.MaxVarintLen64+len(b)), uint64(len(b)))
	head := len(all)
	text := string(append(all, b...))
	return (*word)(unsafe.StringData(text)), text[head:]
}

// text is nil's as well: "".
func (w *word) text() string {
	if w == nil {
		return ""
	}
	size, shift, at := uint64(0), 0, 0
	for {
		// It ends before the bytes do, as newWord made it.
		b := *(*byte)(unsafe.Add(unsafe.Pointer(w), at))
		at++
		size |= uint64(b&0x7f) << shift
		if shift += 7; b < 0x80 {
			break
		}
	}
	return unsafe.String((*byte)(unsafe.Add(unsafe.Pointer(w), at)), size)
}

// learn returns the word of b; nil is for none.
func (d *Dictionary) learn(b []byte) *word {
	if len(b) == 0 {
		return nil
	}
	if d == nil {
		w, _ := newWord(b)
		return w
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	w, ok := d.words[string(b)]
	if ok {
		return w
	}
	if len(d.words) >= mostWords {
		d.forget()
	}
	w, text := d.earlier[string(b)], ""
	if w == nil {
		w, text = newWord(b)
	} else {
		text = w.text()
	}
	if d.words == nil {
		d.words = map[string]*word{}
	}
	d.words[text] = w
	return w
}

// Forget lets go of what was not asked for since it was called before.
func (d *Dictionary) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forget()
}

func (d *Dictionary) forget() { d.earlier, d.words = d.words, nil }
