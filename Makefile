# Everything that people and CI do here. `make help` lists it.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
BIN := bin/rekindle
RUN ?= .
RACE ?= ./...
# Packages tested side by side: half of the time their tests wait for servers.
SIDE_BY_SIDE ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))

# One set of flags for everything, so that nothing is compiled twice.
export CGO_ENABLED ?= 0
export GOFLAGS := -trimpath $(filter-out -trimpath,$(GOFLAGS))

.PHONY: help
help: ## This list
	@awk 'BEGIN{FS=":.*## "} /^[a-z0-9-]+:.*## /{printf "  %-14s %s\n",$$1,$$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## The command, into bin/
	$(GO) build -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN) ./cmd/rekindle

.PHONY: demo
demo: build ## A simulated cluster from the sample repository, proven; needs Go, git and make
	@ci/demo up

.PHONY: demo-clean
demo-clean: build ## Take the demo away
	@ci/demo down

.PHONY: assets
assets: build ## The binaries that simulated clusters run on, into the cache
	$(BIN) assets

.PHONY: test
test: assets ## Unit and integration tests, against a real API server
	$(GO) test -run '$(RUN)' -timeout 40m -p $(SIDE_BY_SIDE) ./...
	cd test/lab/apps && $(GO) test -run '$(RUN)' ./...
	cd tools && $(GO) test -run '$(RUN)' ./...

.PHONY: race
race: assets ## The same under the race detector; RACE=./internal/engine is a part of it
	CGO_ENABLED=1 $(GO) test -race -timeout 30m $(RACE)

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, the licences of dependencies, the rules of the house
	@ci/lint

.PHONY: fuzz
fuzz: ## Fuzz the document loader, FUZZTIME=60s
	$(GO) test -run '^$$' -fuzz FuzzLoad -fuzztime $(or $(FUZZTIME),60s) -fuzzminimizetime 20x ./internal/config

.PHONY: lab
lab: ## Docker, a kind node image, a registry with charts and images: all built here
	$(GO) run ./test/lab/cmd/lab up

.PHONY: lab-down
lab-down: ## Stop what make lab started
	$(GO) run ./test/lab/cmd/lab down

.PHONY: e2e
e2e: build assets lab ## The main job on real nodes: kind, Flux, Helm
	$(GO) test -tags e2e -run '$(RUN)' -count 1 -timeout 60m -p 1 ./test/e2e/... ./test/lab/... ./test/gke/... ./providers/kind/... ./internal/state/volumes/...

.PHONY: e2e-argocd
e2e-argocd: build assets ## The main job with Argo CD, whose part of the lab takes minutes more to build
	$(GO) test -tags argocd -count 1 -timeout 20m ./bootstrap/argocd
	$(GO) run ./test/lab/cmd/lab up argocd
	$(GO) test -tags e2e,argocd -run 'ArgoCD' -count 1 -timeout 20m ./test/e2e/...

.PHONY: e2e-faults
e2e-faults: build assets lab ## Networks that are cut and disks that are full between two real clusters: minutes of waiting
	$(GO) test -tags e2e,faults -run 'TestATargetThatIsSpoiltOrFull|TestTheNetworkBetweenTheClustersIsCut' -count 1 -timeout 30m ./test/e2e/...

.PHONY: bench
bench: build assets lab ## Against what a user would do otherwise; see docs/performance.md
	$(GO) run ./test/bench

.PHONY: docs
docs: ## Generate docs/documents.md, docs/commands.md and the schema
	$(GO) test ./internal/config -run TestGeneratedFilesAreCurrent -update
	$(GO) test ./cmd/rekindle -run TestTheReferenceOfCommandsIsCurrent -update

.PHONY: cover
cover: assets ## Coverage of make test, by package
	$(GO) test -coverprofile coverage.out -coverpkg ./... ./...
	$(GO) tool cover -func coverage.out | tail -n 1

.PHONY: release
release: ## Archives for linux and darwin with licences and checksums, into dist/; of a commit with a tag, or VERSION=…
	@ci/release

.PHONY: clean
clean: ## Remove what make build and make release made; caches stay
	rm -rf bin dist coverage.out
