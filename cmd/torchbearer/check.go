// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"

	"github.com/prometheus/prometheus/model/labels"

	"torchbearer/config"
)

// check reads config files as the agent would and says what it finds.
func (f *flags) check(stdout, stderr io.Writer) int {
	code := exitClean
	for _, file := range f.checkFiles {
		cfg, err := config.Load(file, f.configOptions())
		if err != nil {
			fmt.Fprintf(stderr, "%v\n%s: refused\n", err, file)
			code = exitUsage
			continue
		}
		for _, hint := range cfg.Hints {
			fmt.Fprintf(stderr, "hint: %s\n", hint)
		}
		if f.checkLint && len(cfg.Hints) > 0 {
			code = exitUsage
		}
		fmt.Fprintf(stdout, "%s: good; scrape jobs: %d, destinations: %d, mandatory labels: %s\n",
			file, len(cfg.Prometheus.ScrapeConfigs), len(cfg.Prometheus.RemoteWriteConfigs), labels.New(cfg.MandatoryLabels()...))
	}
	return code
}
