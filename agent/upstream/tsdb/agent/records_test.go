// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"strconv"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"github.com/stretchr/testify/require"
)

// The first scrape of a large target is written in records of a size that is no
// burden ever after, all series before the first sample, and its appender does not
// keep room for as many.
func TestManySeriesAreWrittenInPieces(t *testing.T) {
	const many = 5*seriesPerRecord + 1
	for name, end := range map[string]func(storage.AppenderTransaction) error{
		"commit":   storage.AppenderTransaction.Commit,
		"rollback": storage.AppenderTransaction.Rollback,
	} {
		t.Run(name, func(t *testing.T) {
			opts := DefaultOptions()
			opts.EnableMetadataWALRecords = true
			db := createTestAgentDB(t, nil, opts)
			app := db.AppenderV2(t.Context()).(*appenderV2)
			told := storage.AOptions{Metadata: metadata.Metadata{Type: model.MetricTypeGauge, Help: "h"}}
			for i := range many {
				_, err := app.Append(0, labels.FromStrings("__name__", "s", "i", strconv.Itoa(i)), 0, 1, 1, nil, nil, told)
				require.NoError(t, err)
			}
			require.NoError(t, end(app))
			require.Zero(t, cap(app.pendingSeries)+cap(app.pendingMetadata)+cap(app.metadataSeries))
			require.NoError(t, db.Close())

			counts := readCounts(t, db.wal.Dir())
			want := recordCounts{series: many}
			if name == "commit" {
				want = recordCounts{many, many, many}
			}
			require.Equal(t, want, counts)
		})
	}
}

// recordCounts is how much of each there is in a log.
type recordCounts struct{ series, metadata, samples int }

func readCounts(t *testing.T, dir string) (counts recordCounts) {
	t.Helper()
	segments, err := wlog.NewSegmentsReader(dir)
	require.NoError(t, err)
	defer func() { require.NoError(t, segments.Close()) }()
	r, dec := wlog.NewReader(segments), record.NewDecoder(labels.NewSymbolTable(), promslog.NewNopLogger())
	for r.Next() {
		switch rec := r.Record(); dec.Type(rec) {
		case record.Series:
			got, err := dec.Series(rec, nil)
			require.NoError(t, err)
			require.LessOrEqual(t, len(got), seriesPerRecord)
			require.Zero(t, counts.samples)
			counts.series += len(got)
		case record.Metadata:
			got, err := dec.Metadata(rec, nil)
			require.NoError(t, err)
			require.LessOrEqual(t, len(got), seriesPerRecord)
			counts.metadata += len(got)
		default:
			got, err := dec.Samples(rec, nil)
			require.NoError(t, err)
			counts.samples += len(got)
		}
	}
	require.NoError(t, r.Err())
	return counts
}
