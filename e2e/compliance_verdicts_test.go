// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"torchbearer/e2e/receiver"
)

func responseCases() []answered {
	partly := says(http.StatusBadRequest, "Rejected 1 sample")
	partly.header.Set("X-Prometheus-Remote-Write-Samples-Written", "2")
	partly.header.Set("X-Prometheus-Remote-Write-Histograms-Written", "0")
	partly.header.Set("X-Prometheus-Remote-Write-Exemplars-Written", "0")
	words := "Error: Invalid label name '__invalid__'"
	return []answered{
		{name: "ignore_response_body_on_success", answer: always(reply{status: http.StatusOK, body: "This body is of no use"}), check: once},
		{name: "process_written_count_headers", answer: always(reply{}), check: once},
		{name: "handle_partial_write_response", answer: always(partly), check: once},
		{
			name: "handle_missing_written_headers", queue: "queue_config: {}",
			answer: always(says(http.StatusBadRequest, "Bad request")), check: wantFew,
		},
		{
			name: "log_error_messages_verbatim", answer: always(says(http.StatusBadRequest, words)),
			check: func(t *testing.T, a *agent, got []*recorded) {
				t.Helper()
				notForever(t, a, got)
				if !strings.Contains(a.Output(), words) {
					t.Errorf("the receiver's words are not in the log: %s", words)
				}
			},
		},
		{
			name: "handle_large_error_body", check: notForever,
			answer: always(says(http.StatusBadRequest, "Error details: "+strings.Repeat("detailed error information; ", 1000))),
		},
		{name: "handle_204_no_content", answer: always(reply{status: http.StatusNoContent}), check: once},
		{name: "handle_200_ok", answer: always(reply{status: http.StatusOK, body: "OK"}), check: once},
		{name: "ContentTypeNegotiation", answer: always(reply{}), check: once},
	}
}

// notForever checks that later samples come although the first ones are refused.
func notForever(t *testing.T, _ *agent, got []*recorded) {
	t.Helper()
	seen := map[int64]int{}
	for _, in := range got {
		for _, sample := range values(in.series) {
			seen[sample.Timestamp]++
		}
	}
	if len(seen) < 5 {
		t.Errorf("samples of %d scrapes came, want 5 or more", len(seen))
	}
}

func troubleCases() []answered {
	return []answered{
		{name: "handle_connection_refused", url: "http://127.0.0.1:1/api/v1/write", check: lives}, // Nobody listens there.
		{name: "dns_resolution_failure", url: "http://nonexistent.invalid:9999/api/v1/write", check: lives},
		{name: "handle_timeout", timeout: "3s", least: 2, answer: always(reply{hang: true}), check: wantRepeated},
		// A success that does not say what it has written is not one of 2.0.
		{name: "handle_partial_write", answer: always(reply{status: http.StatusOK, body: "partial", mute: true}), check: byV1},
		{name: "handle_malformed_response", answer: always(reply{status: http.StatusOK, body: "Not valid\r\n", mute: true}), check: byV1},
		{name: "handle_empty_response", answer: always(reply{status: http.StatusOK, mute: true}), check: byV1},
		{name: "sender_continues_after_errors", answer: func(n int, _ *recorded) reply {
			if n <= 4 {
				return says(http.StatusInternalServerError, "Internal server error")
			}
			return reply{}
		}, check: func(t *testing.T, _ *agent, got []*recorded) {
			t.Helper()
			wantOnce(t, got[min(4, len(got)):])
		}},
		{name: "handle_invalid_status_code", answer: always(reply{status: 999}), check: lives},
		{name: "handle_large_error_response", answer: always(says(http.StatusBadRequest, strings.Repeat("x", 1<<20))), check: notForever},
	}
}

// byV1 checks that what a receiver did not take by 2.0 came by 1.0, whole.
func byV1(t *testing.T, _ *agent, got []*recorded) {
	t.Helper()
	var old []*recorded
	for i, in := range got {
		if !in.isV2() {
			old = append(old, in)
		} else if i > 0 && len(old) > 0 {
			t.Errorf("request %d is of 2.0 again", i)
		}
	}
	if len(old) == len(got) {
		t.Error("no request was of 2.0")
	}
	wantOnce(t, old)
}

// fallbackCases are cases of a receiver that answers the first request of 2.0 with 415.
func fallbackCases() []answered {
	unsupported := func(_ int, in *recorded) reply {
		if in.isV2() {
			return says(http.StatusUnsupportedMediaType, "RW 2.0 not supported, please use RW 1.0")
		}
		return reply{}
	}
	falls := func(name string, check func(*testing.T, *recorded, *recorded)) answered {
		return answered{name: name, answer: unsupported, check: func(t *testing.T, a *agent, got []*recorded) {
			t.Helper()
			byV1(t, a, got)
			if len(got) > 1 {
				check(t, got[0], got[1])
			}
		}}
	}
	header := func(name, before, after string) func(*testing.T, *recorded, *recorded) {
		return func(t *testing.T, first, second *recorded) {
			t.Helper()
			if got := [2]string{first.header.Get(name), second.header.Get(name)}; got != [2]string{before, after} {
				t.Errorf("%s was %q, want %q and %q", name, got, before, after)
			}
		}
	}
	version := header("X-Prometheus-Remote-Write-Version", "2.0.0", "0.1.0")
	kind := header("Content-Type", "application/x-protobuf;proto="+receiver.ProtocolV2, "application/x-protobuf")
	return []answered{
		falls("fallback_on_415_unsupported_media_type", version),
		falls("retry_with_different_version", version),
		falls("fallback_header_changes", kind),
		falls("accept_success_after_fallback", version),
		falls("persistent_fallback_choice", version), // byV1 looks at the rest.
		{name: "NoFallbackOn2xx", answer: always(reply{}), check: func(t *testing.T, _ *agent, got []*recorded) {
			t.Helper()
			wantOnce(t, got)
			for i, in := range got {
				if !in.isV2() {
					t.Errorf("request %d is of 1.0", i)
				}
			}
		}},
	}
}

// TestComplianceInvalidURLScheme is the suite's case of an address that nothing can be sent to: it is said at once.
func TestComplianceInvalidURLScheme(t *testing.T) {
	t.Parallel()
	config := t.TempDir() + "/torchbearer.yaml"
	writeFile(t, config, global(time.Second)+remoteWrite("invalid://localhost:9999"))
	code, output := runToEnd(t, "--config.file="+config, "--storage.agent.path="+t.TempDir(), "--web.listen-address=127.0.0.1:0")
	if code != 2 || !strings.Contains(output, "write http:// or https://") {
		t.Errorf("exit code %d, output: %s", code, output)
	}
}
