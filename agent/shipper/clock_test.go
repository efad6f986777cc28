// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"net/http"
	"testing"
	"time"
)

func TestAheadReadsTheDate(t *testing.T) {
	begun := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		date string
		took time.Duration
		want time.Duration
		ok   bool
	}{
		"the same clock":       {"Fri, 27 Nov 2026 10:00:00 GMT", time.Second, 0, true},
		"an hour ahead":        {"Fri, 27 Nov 2026 11:00:00 GMT", time.Second, time.Hour, true},
		"a minute behind":      {"Fri, 27 Nov 2026 09:59:00 GMT", 0, -59*time.Second - time.Second/2, true},
		"the answer took long": {"Fri, 27 Nov 2026 10:00:00 GMT", promptAnswer + 1, 0, false},
		"no date":              {"", 0, 0, false},
		"no date of HTTP":      {"yesterday", 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := ahead(http.Header{"Date": {tc.date}}, begun, begun.Add(tc.took))
			if got != tc.want || ok != tc.ok {
				t.Errorf("%s %t, want %s %t", got, ok, tc.want, tc.ok)
			}
		})
	}
}

// A Date is of whole seconds: the mean of many answers is better, and a clock that
// was set is believed at once.
func TestClockOffsetIsAMean(t *testing.T) {
	var c clockOffset
	c.learn(&answer{verdict: retry, dated: true, ahead: time.Hour})
	c.learn(&answer{verdict: stored})
	if c.known {
		t.Fatalf("a proxy's error, or an answer without Date, told the receiver's time: %+v", c)
	}
	for i := range 10 * offsetWeight {
		c.learn(&answer{verdict: stored, dated: true, ahead: 2*time.Second + time.Duration(i%2)*time.Second})
	}
	if off := c.by - 2500*time.Millisecond; !c.known || off.Abs() > 50*time.Millisecond {
		t.Errorf("after answers of 2 and 3 seconds the offset is %s", c.by)
	}
	c.learn(&answer{verdict: refused, dated: true, ahead: time.Minute})
	if c.by != time.Minute {
		t.Errorf("a clock that jumped by a minute is %s ahead", c.by)
	}
}
