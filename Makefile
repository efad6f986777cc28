# Needs: Go, a C compiler (for the race detector), git, bash. Everything else is built from Go modules into .cache/bin.
SHELL       := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION  := $(shell cat VERSION)
REVISION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PKG      := github.com/prometheus/common/version
LDFLAGS  := -s -w -X $(PKG).Version=$(VERSION) -X $(PKG).Revision=$(REVISION)
LEAN     := -overlay "$$(cmd/lean.sh)"
BUILD    := CGO_ENABLED=0 go build -trimpath -buildvcs=false $(LEAN) -ldflags '$(LDFLAGS)'
LINT     := $(CURDIR)/.cache/bin/golangci-lint
FUZZTIME ?= 30s
FUZZ     ?= Fuzz
# Each process test runs several programs: more at once than there are processors only makes them wait.
PARALLEL ?= 2
RUN      ?= .
SOAK     ?= 1h
SEEDS    ?= 2000
BASE     ?= main
BENCH    ?= .
COUNT    ?= 6

help: ## This list.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build bin/torchbearer: static, stripped, with its version.
	$(BUILD) -o bin/torchbearer ./cmd/torchbearer

build-race: ## Build bin/torchbearer-race: the same with the race detector, for the process tests.
	CGO_ENABLED=1 go build -race -pgo=off -buildvcs=false $(LEAN) -ldflags '$(LDFLAGS)' -o bin/torchbearer-race ./cmd/torchbearer

cross: ## Check that it compiles for windows/amd64 and linux/arm64.
	GOOS=windows GOARCH=amd64 $(BUILD) -pgo=off -o /dev/null ./cmd/torchbearer
	GOOS=linux GOARCH=arm64 $(BUILD) -pgo=off -o /dev/null ./cmd/torchbearer

neighbours: ## Build the programs that tests and demo run beside it (once).
	e2e/neighbours.sh prometheus promtool node_exporter helm kubernetes

demo: build ## Run it with a real Prometheus and node_exporter, show what arrives, until Ctrl-C.
	@e2e/neighbours.sh prometheus node_exporter
	@cd e2e && go build -buildvcs=false -o ../bin/demo ./demo
	@TORCHBEARER_BIN=$(CURDIR)/bin/torchbearer exec bin/demo

test: test-unit test-e2e ## All tests.

test-unit: ## Tests of the packages, with the race detector.
	go test -timeout 30m -race -pgo=off ./...

# As root on Debian it installs what tests in a browser, on a whole cluster and on the chain behind the central need; else
# those skip.
test-e2e: build build-race neighbours ## Tests of the built program beside real neighbours (RUN=regexp picks some).
	e2e/packages.sh browser cluster chain
	cd e2e && TORCHBEARER_BIN=$(CURDIR)/bin/torchbearer-race go test -timeout 75m -p 1 -parallel $(PARALLEL) -run '$(RUN)' -count=1 ./...

rules: ## Check the central's alert rules, and run their unit tests.
	e2e/neighbours.sh promtool
	cd deploy/central/rules && $(CURDIR)/.cache/bin/promtool check rules --lint=all --lint-fatal torchbearer.yml expected-*.yml
	cd deploy/central/rules && $(CURDIR)/.cache/bin/promtool test rules torchbearer_test.yml

sim: ## Log and shipper simulated, by SEEDS (2000) seeds of clock, disk, network and kills; SIM_SEED=n repeats one.
	SIM_SEEDS=$(SEEDS) go test -timeout 30m -run 'TestSimulation$$' -count=1 ./agent

soak: build neighbours ## Kills, stops, reloads, full disks and receivers that fail, for SOAK (1h) each; tells the seed of what fails.
	cd e2e && TORCHBEARER_BIN=$(CURDIR)/bin/torchbearer TORCHBEARER_SOAK=$(SOAK) go test -timeout 0 -parallel 4 -run 'TestProof(Kill|Term|Reload|FullDisk|Central)' -count=1 -v .

backlog: build ## A start with a GiB of log to ship: time to be ready and to scrape, memory, pace; Prometheus's agent on the same log.
	e2e/neighbours.sh prometheus
	cd e2e && TORCHBEARER_BIN=$(CURDIR)/bin/torchbearer TORCHBEARER_BACKLOG=1024 go test -timeout 30m -run 'TestBacklog$$' -count=1 -v .

test-image: ## Build the Dockerfile's image and run it, where a Docker engine runs or can be started.
	e2e/packages.sh image
	cd e2e && TORCHBEARER_E2E_IMAGE=1 go test -timeout 30m -run TestImage -count=1 -v .

bench: build ## What it costs beside Prometheus's agent and vmagent, on the same loads in turn, into e2e/bench (ARGS="-rounds 1").
	e2e/neighbours.sh prometheus vmagent
	cd e2e && TORCHBEARER_BIN=$(CURDIR)/bin/torchbearer go run ./bench -write $(ARGS)

bench-compare: ## The Go benchmarks of the hot packages, where the branch left BASE (main) and here (BENCH=regexp, COUNT=6).
	e2e/neighbours.sh benchstat
	e2e/bench-compare.sh '$(BASE)' '$(BENCH)' $(COUNT)

instructions: ## Instructions of the benchmarks of the hot paths, counted by valgrind (BENCH=regexp).
	e2e/instructions.sh '$(BENCH)'

# Ten times the rate of the loads that the profile stands for: the same code, more often.
pgo: build ## Take cmd/torchbearer/default.pgo anew, by which the compiler optimises, from an agent at work.
	cd e2e && for load in node exporters; do TORCHBEARER_BIN=$(CURDIR)/bin/torchbearer go run ./bench -profile $(CURDIR)/.cache/$$load.pgo -loads $$load -interval 500ms -for 60s -rounds 1 || exit 1; done
	go tool pprof -proto .cache/node.pgo .cache/exporters.pgo > cmd/torchbearer/default.pgo

kind-up: ## Three nodes of kind, a central Prometheus and the chart, on a machine with Docker and kind.
	deploy/kind/up.sh

kind-down: ## Remove what kind-up made.
	deploy/kind/down.sh

fuzz: ## Every fuzz target whose name has FUZZ in it, a basic regexp, for FUZZTIME (30s).
	@go list -f '{{$$p := .}}{{range .TestGoFiles}}{{$$p.ImportPath}} {{$$p.Dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$$p.ImportPath}} {{$$p.Dir}}/{{.}}{{"\n"}}{{end}}' ./... | \
	while read -r package file; do \
		if [ -z "$$package" ]; then continue; fi; \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$file" | grep '$(FUZZ)'); do \
			echo "$$package $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "$$package"; \
		done; \
	done

lint: ## Linters and formatters, in both modules.
	e2e/neighbours.sh golangci-lint
	GOFLAGS=-pgo=off $(LINT) run --allow-parallel-runners ./...
	cd e2e && $(LINT) run --allow-parallel-runners --config ../.golangci.yml ./...
	$(LINT) fmt --diff ./... || { echo 'run "make fmt"'; exit 1; }
	cd e2e && $(LINT) fmt --config ../.golangci.yml --diff ./... || { echo 'run "make fmt"'; exit 1; }

fmt: ## Format all Go files.
	e2e/neighbours.sh golangci-lint
	$(LINT) fmt ./...
	cd e2e && $(LINT) fmt --config ../.golangci.yml ./...

golden: ## Write the golden files anew.
	UPDATE_GOLDEN=1 go test -pgo=off -count=1 ./cmd/... ./config/...
	go test -pgo=off -count=1 -run TestCheckReports ./agent -update
	cd e2e && UPDATE_GOLDEN=1 go test -count=1 -run 'TestTables$$|TestReadme|TestPlot' ./bench

clean: ## Remove what was built, but not the neighbours.
	rm -rf bin

.PHONY: help build build-race cross neighbours demo test test-unit test-e2e rules sim soak backlog test-image bench bench-compare instructions pgo kind-up kind-down fuzz lint fmt golden clean
