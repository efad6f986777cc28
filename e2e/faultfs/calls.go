// SPDX-License-Identifier: Apache-2.0

//go:build linux

package faultfs

import (
	"bytes"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// The methods of this file implement fuse.RawFileSystem: each call that may fail, fails or passes.

// Lookup never fails; it tells the name of a node.
func (f *FS) Lookup(cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	return f.name(&out.NodeId, name, f.RawFileSystem.Lookup(cancel, header, name, out))
}

// SetAttr is truncate, chmod and utimes.
func (f *FS) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if s := f.fails(changes, "setattr", in.NodeId, ""); !s.Ok() {
		return s
	}
	return f.RawFileSystem.SetAttr(cancel, in, out)
}

// Mkdir makes a folder.
func (f *FS) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	if s := f.fails(changes, "mkdir", in.NodeId, name); !s.Ok() {
		return s
	}
	return f.name(&out.NodeId, name, f.RawFileSystem.Mkdir(cancel, in, name, out))
}

// Unlink removes a file.
func (f *FS) Unlink(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	if s := f.fails(changes, "unlink", header.NodeId, name); !s.Ok() {
		return s
	}
	return f.RawFileSystem.Unlink(cancel, header, name)
}

// Rmdir removes a folder.
func (f *FS) Rmdir(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	if s := f.fails(changes, "rmdir", header.NodeId, name); !s.Ok() {
		return s
	}
	return f.RawFileSystem.Rmdir(cancel, header, name)
}

// Rename gives a file another name.
func (f *FS) Rename(cancel <-chan struct{}, in *fuse.RenameIn, from, to string) fuse.Status {
	if s := f.fails(changes, "rename", in.NodeId, from); !s.Ok() {
		return s
	}
	return f.RawFileSystem.Rename(cancel, in, from, to)
}

// Link gives a file a further name.
func (f *FS) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	if s := f.fails(changes, "link", in.NodeId, name); !s.Ok() {
		return s
	}
	return f.RawFileSystem.Link(cancel, in, name, out)
}

// Create opens a file that is new.
func (f *FS) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	if s := f.fails(changes, "create", in.NodeId, name); !s.Ok() {
		return s
	}
	return f.name(&out.NodeId, name, f.RawFileSystem.Create(cancel, in, name, out))
}

// Open opens a file.
func (f *FS) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	writes := kind(in.Flags&(syscall.O_WRONLY|syscall.O_RDWR|syscall.O_TRUNC) != 0)
	if s := f.fails(writes, "open", in.NodeId, ""); !s.Ok() {
		return s
	}
	return f.RawFileSystem.Open(cancel, in, out)
}

// Read reads a file.
func (f *FS) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if s := f.fails(reads, "read", in.NodeId, ""); !s.Ok() {
		return nil, s
	}
	return f.RawFileSystem.Read(cancel, in, buf)
}

// Write writes to a file.
func (f *FS) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	if s := f.fails(changes, "write", in.NodeId, ""); !s.Ok() {
		if len(data) < 2 || !f.tears() {
			return 0, s
		}
		data = data[:len(data)/2]
	}
	return f.RawFileSystem.Write(cancel, in, data)
}

// Writev is Write of several parts, which are of one write of the program.
func (f *FS) Writev(cancel <-chan struct{}, in *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	return f.Write(cancel, in, bytes.Join(data, nil))
}

// Fallocate reserves space.
func (f *FS) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	if s := f.fails(changes, "fallocate", in.NodeId, ""); !s.Ok() {
		return s
	}
	return f.RawFileSystem.Fallocate(cancel, in)
}

// CopyFileRange is not there, so that whoever copies has to write.
func (f *FS) CopyFileRange(<-chan struct{}, *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS
}

// Fsync brings a file to the disk.
func (f *FS) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if s := f.fails(changes, "fsync", in.NodeId, ""); !s.Ok() {
		return s
	}
	return f.RawFileSystem.Fsync(cancel, in)
}

// FsyncDir brings the names of a folder to the disk.
func (f *FS) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	if s := f.fails(changes, "fsync of a folder", in.NodeId, ""); !s.Ok() {
		return s
	}
	return f.RawFileSystem.FsyncDir(cancel, in)
}

// OpenDir begins to list a folder.
func (f *FS) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if s := f.fails(reads, "opendir", in.NodeId, ""); !s.Ok() {
		return s
	}
	return f.RawFileSystem.OpenDir(cancel, in, out)
}

// ReadDir lists a folder.
func (f *FS) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if s := f.fails(reads, "readdir", in.NodeId, ""); !s.Ok() {
		return s
	}
	return f.RawFileSystem.ReadDir(cancel, in, out)
}

// ReadDirPlus lists a folder with what its files are.
func (f *FS) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if s := f.fails(reads, "readdir", in.NodeId, ""); !s.Ok() {
		return s
	}
	return f.RawFileSystem.ReadDirPlus(cancel, in, out)
}
