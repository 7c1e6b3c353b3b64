# Muster: every command that a developer types. `make help` lists them.
SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
GOBUILD  := CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)'
FUZZTIME ?= 10s
TEMPLATETIME ?= 60s
LONG     ?= 10m
RACE     ?= $(shell go list ./... | grep -v /deploy/)

.PHONY: help build setup test race check fuzz fuzz-templates torture bench bench-cluster bench-api demo clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-13s %s\n", $$1, $$2}'

build: ## static bin/muster and bin/muster-agent
	@mkdir -p bin
	$(GOBUILD) -o bin/muster ./cmd/muster
	$(GOBUILD) -o bin/muster-agent ./cmd/muster-agent

setup: ## install what tests of real components need (root on Debian or Ubuntu; elsewhere says what is missing)
	@deploy/scripts/setup-tests

test: setup ## all tests; as root on Debian it installs what they need first
	@deploy/scripts/gotest -timeout 25m ./...

race: setup ## the tests that run in one process, under the race detector
	@deploy/scripts/gotest -race -short -timeout 25m $(RACE)

check: ## format, vet, static analysis, import table, tidy module, generated files, other platforms
	@deploy/scripts/check

fuzz: ## each fuzz target for FUZZTIME (10s)
	@deploy/scripts/fuzz $(FUZZTIME)

fuzz-templates: setup ## our templates beside Debian's FreeMarker on generated templates, for TEMPLATETIME (60s); SEED repeats one run
	@mkdir -p .cache && go build -o .cache/fuzztemplates ./deploy/fuzztemplates
	@exec .cache/fuzztemplates -time $(TEMPLATETIME) $(if $(SEED),-seed $(SEED))

torture: setup ## everything that a cluster must survive, for LONG (10m) each: histories in one process, and real ones behind HAProxy (root)
	@MUSTER_HISTORIES=$(LONG) deploy/scripts/gotest -count=1 -timeout 60m -run 'Linearizable|Histories|Checker' ./cluster
	@MUSTER_TORTURE=$(LONG) deploy/scripts/gotest -count=1 -timeout 60m ./deploy/torture

bench: build ## the benchmarks, each against a baseline taken in the same run; tables, and JSON lines in bench/
	@mkdir -p bench
	@deploy/scripts/bench

bench-cluster: build ## the cluster against etcd, bare hashicorp/raft and go-memdb; a table, and JSON lines in bench/cluster.json (under 45 minutes, on a machine that does nothing else)
	@mkdir -p bench .cache && go build -o .cache/bench-cluster ./deploy/bench/cluster
	@exec .cache/bench-cluster -bin bin -out bench/cluster.json

bench-api: setup build ## the API against its peers, which setup installs; a table, and JSON lines in bench/api.json (on a machine that does nothing else)
	@mkdir -p bench .cache && go build -o .cache/bench-api ./deploy/bench/api
	@exec .cache/bench-api -bin bin -out bench/api.json

demo: build ## the main job on this machine, without root: three nodes, two agents (KEEP=1 leaves them running)
	@mkdir -p .cache && go build -o .cache/demo ./deploy/demo
	@exec .cache/demo -bin bin $(if $(KEEP),-keep)

clean: ## remove what the other targets made
	rm -rf bin bench .cache
