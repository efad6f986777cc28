// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
)

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
