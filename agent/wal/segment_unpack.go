// SPDX-License-Identifier: Apache-2.0

package wal

import (
	"errors"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

var errTooLarge = errors.New("record is too large")

// unpacker decompresses records, each into the memory of the one before.
type unpacker struct {
	buf  []byte
	zstd *zstd.Decoder // nil until there is need of it
}

// unpack returns what was compressed as flags say.
func (u *unpacker) unpack(flags byte, raw []byte) ([]byte, error) {
	switch {
	case flags&flagSnappy != 0:
		size, err := snappy.DecodedLen(raw)
		if err != nil {
			return nil, err
		}
		// Snappy makes 64 bytes of 3 at best, so that a size over that is a lie.
		if size > maxRecordSize || size/32 > len(raw) {
			return nil, errTooLarge
		}
		return u.keep(snappy.Decode(u.buf[:cap(u.buf)], raw))
	case flags&flagZstd != 0:
		if u.zstd == nil {
			d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRecordSize))
			if err != nil {
				return nil, err
			}
			u.zstd = d
		}
		return u.keep(u.zstd.DecodeAll(raw, u.buf[:0]))
	default:
		return raw, nil
	}
}

func (u *unpacker) keep(b []byte, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	if cap(b) > cap(u.buf) && cap(b) <= segmentBufferSize*32 {
		u.buf = b
	}
	return b, nil
}

func (u *unpacker) close() {
	if u.zstd != nil {
		u.zstd.Close()
		u.zstd = nil
	}
}
