# Every check is defined in .ci/run, which needs no make. `make help` lists the targets.
.DEFAULT_GOAL := quick
.PHONY: quick build test lint race fuzz sweep bench mutants network ci alerts faults help

quick: build ## build ./bdtnode; formatting, vet, and the rules of the code (about a minute)
	@.ci/run formatting vet rules

build: ## build ./bdtnode
	go build -o bdtnode ./cmd/bdtnode

test: ## all tests (minutes)
	@.ci/run tests

lint: ## gofmt, go vet, staticcheck, golangci-lint
	@.ci/run lint

race: ## tests of the packages with goroutines or locks, with the race detector; needs a C compiler
	@.ci/run race

fuzz: ## each fuzz target for FUZZTIME (10s)
	@.ci/run fuzz

sweep: ## simulations with seeds that no test uses
	@.ci/run sweeps

alerts: ## promtool on the alert rules; downloads many modules
	@.ci/run alerts

faults: ## faults staged in networks of real processes (minutes)
	@.ci/run faults

bench: ## all benchmarks
	@.ci/run bench

mutants: ## bugs put back into the code must be found by the tests
	@.ci/run mutants

network: ## networks of real processes under load and faults
	@.ci/run network

ci: ## every check of a change (about an hour)
	@.ci/run

help: ## this list
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/\1\t\2/p' Makefile | expand -t 10
