// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package host

import "errors"

func usage(string) (string, error) { return "", errors.New("told on Linux only") }
