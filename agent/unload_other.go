// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package agent

// unload does nothing: only Linux maps so much at once.
func unload() error { return nil }
