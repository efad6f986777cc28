// SPDX-License-Identifier: Apache-2.0

package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	promconfig "github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
)

// Parse makes a Config of the text of its files. Whatever is wrong with them is returned as Violations.
func Parse(src *Source, opts Options) (*Config, error) {
	c := &checker{opts: opts}
	if !c.read(src) {
		return nil, c.violations(c.errs)
	}
	c.check()
	prom := c.validate()
	if len(c.errs) > 0 {
		return nil, c.violations(c.errs)
	}
	prom.SetDirectory(c.main.dir())
	if c.clients(prom); len(c.errs) > 0 {
		return nil, c.violations(c.errs)
	}
	cfg := &Config{Prometheus: prom, Agent: c.agent, GoGCByDefault: c.gogcByDefault(), hash: c.hash(src)}
	if c.scopes(cfg); len(c.errs) > 0 {
		return nil, c.violations(c.errs)
	}
	cfg.Hints = c.violations(c.hints)
	return cfg, nil
}

// violations puts a list in order, without secrets, and not longer than anybody reads.
func (c *checker) violations(list Violations) Violations {
	list = slices.Clone(list).sorted()
	if more := len(list) - maxViolations; more > 0 {
		list = append(list[:maxViolations], Violation{File: list[0].File, Problem: fmt.Sprintf("and %d more", more), Remedy: "mend these first"})
	}
	for i := range list {
		list[i].Problem = strings.ReplaceAll(c.scrub(list[i].Problem), "\n", ", ")
		list[i].Remedy = c.scrub(list[i].Remedy)
	}
	return list
}

// hash covers the files, their places, and the trees as Prometheus's parser got them: variables and options are in them.
func (c *checker) hash(src *Source) string {
	h := sha256.New()
	writeCounted(h, src.Hash())
	for _, doc := range c.documents() {
		writeCounted(h, emit(doc.root).text.String())
	}
	writeCounted(h, fmt.Sprintf("%+v", c.agent))
	if external := c.main.root.get("global", "external_labels"); external != nil {
		for _, f := range external.fields {
			writeCounted(h, expandLabel(f.value.str()))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// protoFirst is the list of scrape protocols that begins with protobuf.
func protoFirst(at *node) *node {
	list := &node{file: at.file, line: at.line, kind: listNode}
	for _, protocol := range promconfig.DefaultProtoFirstScrapeProtocols {
		list.items = append(list.items, &node{file: at.file, line: at.line, value: string(protocol), parent: list})
	}
	return list
}

func sortLabels(ls []labels.Label) {
	slices.SortFunc(ls, func(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) })
}
