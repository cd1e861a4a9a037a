# forebay's verbs. `make` alone prints them.

GO        ?= go
MIN_GO    := 1.26
GOTOOL    := $(GO) tool -modfile=tools/lint.mod
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS   := -s -w -X main.version=$(VERSION)
TESTFLAGS ?= -race -shuffle=on
PKGS      ?= ./...
BENCH_OUT ?= bin/bench

export GOFLAGS := $(GOFLAGS) -buildvcs=false

.DEFAULT_GOAL := help

.PHONY: help
help: ## Print this list
	@awk -F ':.*## ' '/^[a-z\/-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: go-version
go-version:
	@v=$$($(GO) env GOVERSION 2>/dev/null | sed 's/^go//'); \
	if [ "$$(printf '%s\n%s\n' $(MIN_GO) "$$v" | sort -V | head -n1)" != "$(MIN_GO)" ]; then \
		echo "forebay needs Go $(MIN_GO) or newer and found $${v:-none}: see https://go.dev/dl" >&2; exit 1; fi

.PHONY: build
build: go-version ## Build bin/forebay
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/forebay ./cmd/forebay

.PHONY: run
run: go-version ## Start forebay on its main job, with a throw-away Postgres and the NEXUS data
	@tools/need.sh postgres curl
	@$(MAKE) --no-print-directory build
	@bin/forebay demo

.PHONY: test
test: go-version ## Run all tests against a private Postgres and Redis
	@tools/need.sh postgres redis gcc
	$(GO) build -o bin/withservers ./tools/withservers
	bin/withservers $(GO) test $(TESTFLAGS) -timeout 12m $(PKGS)
	$(GO) test -run 'Allocates|OracleOverHTTP' -count=1 ./cache/... ./proxy/... ./rules/... ./cmd/forebay

.PHONY: check
check: go-version ## Everything that must hold before a commit, but the tests: format, vet, lint, shipped configurations
	@unformatted=$$($(GOTOOL) gofumpt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "not gofumpt'ed (make fmt):"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GOTOOL) staticcheck ./...
	$(GO) test -run 'House|Shipped' -count=1 ./cmd/forebay
	@for f in configs/example.yaml configs/nexus/forebay.yaml; do \
		echo "forebay check -c $$f"; \
		DATABASE_URL=postgres://localhost/check LEGACY_URL=http://127.0.0.1:8000 $(GO) run ./cmd/forebay check --offline -c $$f || exit 1; done

.PHONY: fmt
fmt: ## Format the code
	$(GOTOOL) gofumpt -w $$(git ls-files '*.go')

.PHONY: generate
generate: ## Write the JSON Schema of the configuration anew
	$(GO) generate ./...

.PHONY: fuzz
fuzz: go-version ## Fuzz every parser for FUZZTIME each (30s)
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p 2>/dev/null | grep '^Fuzz'); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-30s} $$p || exit 1; done; done

.PHONY: bench
bench: go-version ## Measure forebay from nothing; a table here, JSON and a page in BENCH_OUT (bin/bench)
	@tools/need.sh postgres redis
	@$(MAKE) --no-print-directory build
	@bin/forebay bench --out $(BENCH_OUT)

.PHONY: microbench
microbench: go-version ## Run the Go benchmarks against a private Postgres and Redis
	@tools/need.sh postgres redis
	$(GO) build -o bin/withservers ./tools/withservers
	bin/withservers $(GO) test -run '^$$' -bench . -benchmem -timeout 30m $(PKGS)

.PHONY: soak
soak: go-version ## Check SOAK responses (100000000) in process, SOAK_CHAIN (20000000) of instances that share, SOAK_HTTP (10000000) of the real binary for stale ones
	@tools/need.sh postgres redis
	@mkdir -p bench/results
	$(GO) build -o bin/withservers ./tools/withservers
	@{ FOREBAY_SOAK=$${SOAK:-100000000} $(GO) test -run '^TestSoak$$' -count=1 -timeout 60m -v ./cache && \
		FOREBAY_SOAK_CHAIN=$${SOAK_CHAIN:-20000000} bin/withservers $(GO) test -run '^TestSoakOverTheChain$$' -count=1 -timeout 60m -v ./cache/redis && \
		FOREBAY_SOAK_HTTP=$${SOAK_HTTP:-10000000} $(GO) test -run '^TestSoakOverHTTP$$' -count=1 -timeout 120m -v ./cmd/forebay; \
		echo "exit code $$?"; } 2>&1 | tee bench/results/soak.log
	@grep '^soak of the chain' bench/results/soak.log >bench/results/soak-chain.txt; grep '^soak' bench/results/soak.log | grep -v 'of the chain' >bench/results/soak.txt; tail -n 1 bench/results/soak.log | grep -q 'exit code 0' && rm bench/results/soak.log

.PHONY: image
image: ## Build the container image
	docker build --build-arg VERSION=$(VERSION) -t forebay:$(VERSION) .

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin
