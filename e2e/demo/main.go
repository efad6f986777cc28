// SPDX-License-Identifier: Apache-2.0

// Command demo shows torchbearer at work: it starts a real Prometheus as central, a real node_exporter and torchbearer,
// which scrapes all three and ships what it finds, prints what has arrived at the central, and stays until Ctrl-C. It
// leaves nothing behind.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	once := flag.Bool("once", false, "end when everything has arrived and is printed")
	interval := flag.Duration("interval", 5*time.Second, "scrape interval")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, *interval, *once)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

// run returns nil when it was asked to end, by ctx or by once.
func run(ctx context.Context, out io.Writer, interval time.Duration, once bool) (err error) {
	dir, err := os.MkdirTemp("", "torchbearer-demo-")
	if err != nil {
		return err
	}
	s := &stage{dir: dir, interval: interval}
	defer func() {
		s.close()
		if removal := os.RemoveAll(dir); err == nil {
			err = removal
		}
	}()

	if _, err := io.WriteString(out, "starting Prometheus, node_exporter and torchbearer ...\n"); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	if err := s.arrived(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	if err := s.show(ctx, out); err != nil {
		return err
	}
	if once {
		return nil
	}
	if _, err := io.WriteString(out, "\nCtrl-C ends all and removes all.\n"); err != nil {
		return err
	}
	return s.watch(ctx)
}
