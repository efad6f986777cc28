// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"
)

// named is the value of a flag whose errors do not name it themselves.
type named struct {
	flag string
	kingpin.Value
}

// Set implements kingpin.Value.
func (n *named) Set(value string) error {
	if err := n.Value.Set(value); err != nil {
		return fmt.Errorf("%s: %w", n.flag, err)
	}
	return nil
}

// size is a number of bytes with a unit.
type size struct{ bytes *units.Base2Bytes }

// Set implements kingpin.Value.
func (s *size) Set(value string) error {
	n, err := units.ParseBase2Bytes(value)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no size; write a number with B, KB, MB or GB", value)
	}
	*s.bytes = n
	return nil
}

// String implements kingpin.Value.
func (s *size) String() string { return s.bytes.String() }

// choice is the value of a flag that has one of a few. Unlike kingpin's enum
// its error names the flag.
type choice struct {
	value   *string
	flag    string
	choices []string
}

// Set implements kingpin.Value.
func (c *choice) Set(value string) error {
	if !slices.Contains(c.choices, value) {
		return fmt.Errorf("%s must be one of %s, not %q", c.flag, strings.Join(c.choices, ", "), value)
	}
	*c.value = value
	return nil
}

// String implements kingpin.Value.
func (c *choice) String() string { return *c.value }
