# HelixFlow: everything a developer or a CI types. `make` alone prints this list.

GO       ?= go
BIN      := bin/helixflow
MODULE   := $(shell sed -n 's/^module //p' go.mod)
PKG      ?= ./...
FUZZTIME ?= 10s
BENCH    ?= .
ROUNDS   ?= 7
CROSS    ?= darwin windows

VERSION ?= $(shell git describe --tags --dirty --always 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --verify -q HEAD 2>/dev/null)
LDFLAGS := -s -w -X $(MODULE)/internal/build.version=$(VERSION) -X $(MODULE)/internal/build.commit=$(COMMIT)
TOOL    := $(GO) tool -modfile=tools/go.mod

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

## Build and run

.PHONY: build
build: ## build bin/helixflow, static and reproducible
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/helixflow

.PHONY: run
run: build ## serve two simulated engines on loopback, with a demo key to paste
	$(BIN) serve -c configs/quickstart.yaml

.PHONY: clean
clean: ## remove what was built
	rm -rf bin

## Test

.PHONY: test
test: ## unit tests; need Go alone
	$(GO) test $(PKG)

# Without what compares documents and code: no goroutine of the program runs there.
.PHONY: race
race: ## unit tests under the race detector; needs a C compiler
	CGO_ENABLED=1 $(GO) test -race $$($(GO) list $(PKG) | grep -v '/tests$$')

.PHONY: e2e
e2e: build ## the built binary from outside: scripts in tests/e2e, the status page in a browser
	HELIXFLOW_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -tags integration -parallel 4 ./tests/e2e/... ./tests/admin_page/... ./bench/figures

.PHONY: deploy
deploy: build ## systemd's units, socket activation, upgrades, the container's root; needs systemd's tools
	HELIXFLOW_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -tags integration ./tests/deploy/...

.PHONY: chaos
chaos: build ## dying backends, reloads and drains under load, in short forms
	HELIXFLOW_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -tags integration ./tests/chaos/...

.PHONY: integration
integration: build ## limits and answers that routers share, on a real Redis; needs redis-server
	HELIXFLOW_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -tags integration ./cache/... ./internal/redisx/... ./router/sharing/... ./tests/replicas/...

.PHONY: compat
compat: build ## the clients of applications against the built binary; needs python3, node, a JDK, Maven and redis-server
	HELIXFLOW_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -tags integration -parallel 5 ./tests/compat/...

.PHONY: compat-record
compat-record: build ## the same, and what they find becomes the table in docs/reference/clients.md
	HELIXFLOW_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -tags integration -parallel 5 ./tests/compat/ -record
	$(GO) generate ./tests

.PHONY: engines
engines: build ## llama.cpp and vLLM behind the built binary; 6 GB, some minutes; RUN=LlamaCpp: one of them
	HELIXFLOW_BIN=$(CURDIR)/$(BIN) $(GO) test -count=1 -tags engines -timeout 30m ./tests/engines -run 'Test$(RUN)'

# The fuzzer takes one target at a time; each package is linked once for all of
# its targets. A target that fails leaves its input under testdata/fuzz; commit it
# with the fix.
.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10s) each
	@set -eu; \
	binary=$$(mktemp); trap 'rm -f "$$binary"' EXIT; \
	list=$$($(GO) list -f '{{.ImportPath}} {{.Dir}}' $(PKG)); cache=$$($(GO) env GOCACHE)/fuzz; \
	printf '%s\n' "$$list" | while read -r pkg dir; do \
		grep -qs '^func Fuzz' "$$dir"/*_test.go || continue; \
		$(GO) test -c -fuzz . -o "$$binary" "$$pkg"; \
		cd "$$dir"; \
		targets=$$("$$binary" -test.list '^Fuzz'); \
		for target in $$targets; do \
			echo "== $$pkg $$target"; \
			"$$binary" -test.run '^$$' -test.fuzz "^$$target\$$" -test.fuzztime '$(FUZZTIME)' -test.fuzzminimizetime 1s -test.fuzzcachedir "$$cache/$$pkg" </dev/null; \
		done; \
		cd '$(CURDIR)'; \
	done

.PHONY: bench
bench: ## every benchmark, or those that match BENCH
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem $(PKG)

.PHONY: replay-goals
replay-goals: ## what balancing is to reach, in simulated time; TRACES=DIR: on published traces too, 5 minutes
	$(GO) run ./bench/replay/goals $(if $(TRACES),-traces '$(TRACES)')

.PHONY: replay-ablations
replay-ablations: ## what each term of adaptive's cost is worth; TRACES=DIR: on published traces too
	$(GO) run ./bench/replay/goals -ablations $(if $(TRACES),-traces '$(TRACES)')

.PHONY: allocs
allocs: ## the tests that hold the hot path to zero allocations
	$(GO) test -count=1 -run 'Alloc' $(PKG)

.PHONY: container-root
container-root: build ## the container's root filesystem in bin/rootfs, without an engine
	rm -rf bin/rootfs && deploy/container/build-root.sh bin/rootfs $(BIN)

.PHONY: figures
figures: build ## CPU per request beside bare proxies, nginx and HAProxy, against what is promised; some minutes
	$(GO) run ./bench/figures -helixflow $(BIN) -rounds $(ROUNDS) -only '$(ONLY)'

bin/k6: bench/k6/go.mod bench/k6/go.sum bench/k6/main.go
	CGO_ENABLED=0 $(GO) -C bench/k6 build -trimpath -ldflags '-s -w' -o ../../$@ .

.PHONY: k6
k6: build bin/k6 ## k6's smoke test against the quickstart router; builds k6 once
	HELIXFLOW_BIN=$(BIN) K6=bin/k6 bench/k6/run.sh

# On 2 busy cores: the second line takes a minute, a Redis that is away for two
# minutes in each of five ways 25; fuzzing takes five minutes for each target.
.PHONY: long
long: build ## all that takes over a minute: race with integration, long tests, long fuzzing
	CGO_ENABLED=1 $(GO) test -count=1 -race -tags integration,long -timeout 2h ./...
	$(GO) test -count=1 -tags long -run 'TimeOf|Size' ./authn ./cache ./router
	$(MAKE) fuzz FUZZTIME=5m
	$(MAKE) k6

## Check

.PHONY: fmt
fmt: ## format with gofumpt
	$(TOOL) gofumpt -w .

.PHONY: lint
lint: ## vet, staticcheck, gofumpt, and whether the other systems still build
	$(GO) vet $(PKG)
	$(GO) vet -tags integration,long,engines $(PKG)
	$(GO) -C tests/compat/go vet ./...
	$(TOOL) staticcheck -tags integration,long,engines $(PKG)
	@unformatted=$$($(TOOL) gofumpt -l .) && \
		test -z "$$unformatted" || { echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; }
	@set -eu; for os in $(CROSS); do \
		echo "GOOS=$$os $(GO) build $(PKG)"; \
		GOOS=$$os CGO_ENABLED=0 $(GO) build -buildvcs=false $(PKG); \
	done

.PHONY: arch
arch: ## the import table and the other rules of arch_test.go
	$(GO) test -count=1 -run '^TestArchitecture' .

.PHONY: generate
generate: ## regenerate what is generated
	$(GO) generate $(PKG)

.PHONY: tidy
tidy: ## make go.mod and go.sum say what the code needs
	$(GO) mod tidy
	cd tools && $(GO) mod tidy

# Runs in order even under -j: each step may write what the next one reads.
.PHONY: check
check: ## format, lint, arch, generate, tidy; fails if that changed a file you had staged or committed
	$(MAKE) fmt
	$(MAKE) lint
	$(MAKE) arch
	$(MAKE) generate
	$(MAKE) tidy
	git diff --exit-code
