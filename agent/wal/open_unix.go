// SPDX-License-Identifier: Apache-2.0

//go:build unix

package wal

import "syscall"

// openSafely makes opening neither follow a link nor wait for a pipe.
const openSafely = syscall.O_NOFOLLOW | syscall.O_NONBLOCK
