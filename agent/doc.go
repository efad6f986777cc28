// SPDX-License-Identifier: Apache-2.0

// Package agent assembles the stages and is the only place where they meet:
//
//	discovery ──► targets ──► scraper ──► wal ──► shipper ──► central Prometheus
//	              whose?      what?       on disk  one reader a destination
//
// Targets are discovered, scraped into a log on disk, and shipped from that
// log; each stage knows only its sink, which it is given.
//
// In a cluster the agents share the targets: targets decides whose they are, and
// holds a lease for those that one agent scrapes for all. What was scraped is let
// into the log only while it is this agent's (Admit), so that two never write the
// same series, and no staleness markers for what another agent goes on with.
//
// The log on disk is the only queue. wal holds what is in it until each
// destination is past it; shipper reads it with one cursor a destination, kept in
// a journal, so that a restart, a crash or a reload goes on where it was. The two
// speak of positions and records in the words of package logged.
//
// New builds the sink first: shipper, wal, scraper, targets. Apply goes the
// same way, so that a destination stands before the first sample is logged and
// a job's rules before its targets. Run opens the log, which may take long when
// it is large, and finds out where it runs; HTTP and signals are answered
// meanwhile. Run stops at the source, so that nothing is written into what is
// closed: targets, which gives the lease away, scraper, wal, shipper; the shipper
// sends what the log still holds or leaves it for the next start, and all of it
// together takes at most the flush deadline.
//
// A reload is all or nothing: it is read and checked whole, applied stage by
// stage, and taken back from those already changed when one refuses it. The
// last config that was applied is kept in the data directory, so that an agent
// whose file has been broken meanwhile starts on that one, and says so.
//
// The agent never modifies a config, and decides nothing about single samples.
package agent
