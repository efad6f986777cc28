// SPDX-License-Identifier: Apache-2.0

package scrape

import (
	"math"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/value"
)

// This file is Torchbearer's: it reads the numbers that follow the text of a known
// series.

const (
	// Whole numbers up to this one are exact in a float64.
	exactWhole = 1 << 53
	// The powers of ten up to this one are, too.
	exactPower = 22
	// mostDigits of a number fit into 64 bits.
	mostDigits = 19
)

// decimal is a number as it is written.
type decimal struct {
	mantissa uint64
	exponent int // of ten
	negative bool
}

// readValue reads what parseFloat of textparse does, if it is well-formed.
func readValue(b []byte) (float64, bool) {
	if n, ok := readDigits(b); ok && n < exactWhole {
		return float64(n), true
	}
	d, plain := readDecimal(b)
	if plain {
		if v, ok := d.exact(); ok {
			return v, true
		}
	}
	s := yoloString(b)
	if !plain && strings.ContainsAny(s, "pP_") {
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	if math.IsNaN(v) {
		v = math.Float64frombits(value.NormalNaN)
	}
	return v, err == nil
}

func readDigits(b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	n := int64(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// readDecimal reads digits with a point or an exponent. Anything else, and what
// has too many of them, is not plain.
func readDecimal(b []byte) (d decimal, plain bool) {
	if len(b) > 0 && b[0] == '-' {
		d.negative, b = true, b[1:]
	}
	i, digits, whole := 0, 0, -1
	for ; i < len(b); i++ {
		if c := b[i] - '0'; c <= 9 {
			d.mantissa = d.mantissa*10 + uint64(c)
			digits++
		} else if b[i] == '.' && whole < 0 {
			whole = digits
		} else {
			break
		}
	}
	if digits == 0 || digits > mostDigits {
		return d, false
	}
	if i < len(b) {
		if d.exponent, plain = readExponent(b[i:]); !plain {
			return d, false
		}
	}
	if whole >= 0 {
		d.exponent -= digits - whole
	}
	return d, true
}

// readExponent reads e and a number of at most three digits.
func readExponent(b []byte) (int, bool) {
	if b[0] != 'e' && b[0] != 'E' {
		return 0, false
	}
	b = b[1:]
	negative := len(b) > 0 && b[0] == '-'
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		b = b[1:]
	}
	n, ok := readDigits(b)
	if negative {
		n = -n
	}
	return int(n), ok && len(b) <= 3
}

// exact is the float64 that is next to the number, where that takes one rounding:
// of two exact numbers by a multiplication or a division (W. D. Clinger, How to
// read floating point numbers accurately, 1990). strconv does so too.
func (d *decimal) exact() (float64, bool) {
	if d.mantissa > exactWhole || d.exponent < -exactPower || d.exponent > exactPower {
		return 0, false
	}
	v := float64(d.mantissa)
	if d.negative {
		v = -v
	}
	if d.exponent < 0 {
		return v / exactPowerOfTen(-d.exponent), true
	}
	return v * exactPowerOfTen(d.exponent), true
}

// exactPowerOfTen has no variable for its table, which would be copied each time.
func exactPowerOfTen(exponent int) float64 {
	return [exactPower + 1]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}[exponent]
}
