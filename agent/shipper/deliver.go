// SPDX-License-Identifier: Apache-2.0

package shipper

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-kit/log"
)

// errReplaced is what deliver returns when there are newer settings.
var errReplaced = errors.New("the settings were replaced")

const (
	// parkInterval is how often a route that is not ready is tried: the sender
	// compliance suite allows no more.
	parkInterval = 30 * time.Second
	// politeInterval is between requests that look for refused series where the
	// receiver gives no sign that it is about series.
	politeInterval = 10 * time.Second
	// tinyBody, in bytes, is less than any limit on the size of requests.
	tinyBody = 1 << 10
)

// sender brings the points of one destination to its receiver. deliver may be
// called concurrently, with points of different series.
type sender struct {
	logger   log.Logger
	vec      *sendMetricsVec
	refused  *refusedLog
	state    *sendState
	trouble  *trouble
	park     time.Duration
	polite   time.Duration
	grouping grouping
	bench    bench

	mu       sync.Mutex // guards the fields below
	bodies   [][]byte   // not in use
	set      *settings  // that what follows is of
	metrics  *sendMetrics
	protocol protocol
	answered map[pointKey]struct{} // of requests that were replaced halfway
}

func newSender(logger log.Logger, vec *sendMetricsVec) *sender {
	return &sender{
		logger: logger, vec: vec,
		refused: newRefusedLog(logger),
		state:   newSendState(logger),
		trouble: newTrouble(),
		park:    parkInterval, polite: politeInterval,
	}
}

// deliver returns when each point is stored, refused for good or over its age
// limit, and counted, also in into, where an error leaves those that were
// settled before it. Points of a series must stand together, unless there are
// few; exemplars behind their sample. Its errors are
// errReplaced, after which it is to be called with the newer settings and all
// points again (it knows which have their answer), and that of ctx. It may
// change the order of points.
func (s *sender) deliver(ctx context.Context, set *settings, points []point, into *fates) error {
	points = s.unanswered(points)
	if len(points) == 0 {
		return nil
	}
	d := &delivery{
		sender: s, set: set, metrics: s.enter(set), body: s.takeBody(), fates: into,
		whole: len(points), grouped: len(points) > fewPoints,
	}
	defer func() { s.giveBody(d.body) }()
	err := d.send(ctx, points)
	if errors.Is(err, errReplaced) {
		s.remember(d.settled)
	}
	return err
}

// enter makes the state that belongs to settings that of set.
func (s *sender) enter(set *settings) *sendMetrics {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set != set {
		s.set, s.protocol = set, protocol{}
		s.metrics = s.vec.with(set.name, set.url)
	}
	return s.metrics
}

// delivery is one call of deliver.
type delivery struct {
	sender  *sender
	set     *settings
	metrics *sendMetrics
	body    []byte // of the last attempt
	fates   *fates
	whole   int // points of the request before anything was cut

	grouped bool // points of a series stand together

	settled []pointKey // only of a request that was cut
	old     bool       // send by 1.0, whatever is set
	tiny    bool       // the whole request was
	found   int        // refused series
	misses  int        // refusals since something was stored
	limit   int        // of misses; 0 is none
	leftOut int        // exemplars of the last request, as 2.0 cannot take them
}

// send returns when all points are settled.
func (d *delivery) send(ctx context.Context, points []point) error {
	points, a, err := d.ask(ctx, points)
	if err != nil {
		return err
	}
	return d.settle(ctx, points, a)
}

// settle does what a final answer asks for.
func (d *delivery) settle(ctx context.Context, points []point, a answer) error {
	if a.verdict != stored && !d.grouped {
		points, d.grouped = d.sender.grouping.groupPart(points, true), true
	}
	switch {
	case a.verdict == stored:
		d.store(points, a)
		return nil
	case a.verdict == tooLarge:
		return d.halve(ctx, points, a)
	case a.written.present:
		return d.settlePartly(ctx, points, a)
	case d.mayBeOld():
		return d.tryOld(ctx, points, a)
	}
	return d.isolate(ctx, points, a)
}

// ask sends points as one request, again and again until there is a final
// answer: stored, refused or tooLarge. It returns the points that were in it:
// those over the age limit are taken out before each attempt.
func (d *delivery) ask(ctx context.Context, points []point) ([]point, answer, error) {
	s := d.sender
	wait := backoff{least: d.set.minBackoff, most: d.set.maxBackoff}
	turn := s.trouble.turn()
	defer turn.end()
	for attempt := 0; ; attempt++ {
		if err := turn.await(ctx, d.set); err != nil {
			return nil, answer{}, err
		}
		points = d.young(points)
		if len(points) == 0 {
			return nil, answer{verdict: stored}, nil
		}
		a := d.attempt(ctx, points, attempt)
		if ctx.Err() != nil && a.verdict == retry {
			return nil, answer{}, ctx.Err()
		}
		s.state.note(&a)
		var pause time.Duration
		switch a.verdict {
		case retry:
			if pause = a.retryAfter; pause == 0 {
				pause = wait.next()
			}
		case park:
			pause = s.park
		case wrongProtocol:
			pause = s.fallBack(d.set, &a)
		default:
			turn.good()
			return points, a, nil
		}
		d.metrics.retried(points)
		if err := turn.bad(ctx, d.set, pause); err != nil {
			return nil, answer{}, err
		}
	}
}

// attempt encodes and posts once.
func (d *delivery) attempt(ctx context.Context, points []point, attempt int) answer {
	s := d.sender
	v2 := d.set.v2 && !d.old && !s.fellBack(d.set)
	d.body, d.leftOut = s.bench.encode(d.set, v2, points, d.body)
	if len(points) == d.whole {
		d.tiny = len(d.body) < tinyBody
	}
	d.metrics.attempted(points, len(d.body))
	begun := time.Now()
	s.state.begin()
	a := d.set.client.post(ctx, v2, d.body, attempt)
	s.state.end()
	d.metrics.duration.Observe(time.Since(begun).Seconds())
	if v2 {
		s.learn(d.set, &a)
	}
	return a
}

// young takes out the points that are over the age limit.
func (d *delivery) young(points []point) []point {
	limit := d.set.sampleAgeLimit
	if limit <= 0 {
		return points
	}
	oldest := time.Now().Add(-limit).UnixMilli()
	left, old := points[:0], []point(nil)
	var before *series
	keep := false
	for _, p := range points {
		if !p.isExemplar() || p.series != before {
			keep = p.t >= oldest
		} // Else it goes where its sample goes.
		if before = p.series; keep {
			left = append(left, p)
		} else {
			old = append(old, p)
		}
	}
	if len(old) > 0 {
		d.metrics.dropOld(old)
		d.fates.lose(lostAge, d.logged(old))
		d.done(old)
	}
	return left
}

// pause waits, unless ctx is done or the settings are replaced.
func pause(ctx context.Context, set *settings, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-set.replaced:
		return errReplaced
	default:
	}
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-set.replaced:
		return errReplaced
	case <-timer.C:
		return nil
	}
}
