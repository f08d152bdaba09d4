# Everything that is built goes to bin/, which git ignores.
BIN := $(CURDIR)/bin
GOLANGCI_LINT_VERSION := v2.15.0

# The race detector needs a C compiler.
RACE := $(shell [ "$$(go env CGO_ENABLED)" = 1 ] && command -v "$$(go env CC)" >/dev/null && echo -race)

.DEFAULT_GOAL := help

## Use

.PHONY: build
build: ## Build bin/webhook
	go build -o $(BIN)/webhook ./cmd/webhook

.PHONY: run
run: ## Start a local control plane and Meshwarden, walk through the main job, stay until Ctrl-C
	@cd e2e && go run ./cmd/build controlplane-small webhook walk
	@cd e2e && exec $(BIN)/walk -controlplane $(BIN)/controlplane-small -webhook $(BIN)/webhook

## Develop

.PHONY: test
test: test-unit test-e2e ## Run every test, unit to end-to-end

.PHONY: test-unit
test-unit: ## Run the tests that need no control plane
	go test $(RACE) ./...

.PHONY: test-e2e
test-e2e: ## Run the tests on a real etcd and kube-apiserver
	@cd e2e && go run ./cmd/build controlplane controlplane-small webhook webhook-race
	cd e2e && go test -p 1 -timeout 40m ./...

CASES ?= 50000
SEED ?= $(shell date +%s)

.PHONY: conformance
conformance: ## Hold the rules to Istio's own generator on CASES random meshes of each kind, made up from SEED
	cd e2e && GOGC=400 go test ./conformance -count 1 -timeout 0 -v -run '^(TestAlignment|TestConflicts)$$' \
		-args -conformance.cases $(CASES) -conformance.seed $(SEED)

.PHONY: bench
bench: ## Measure one decision at 100, 10,000 and 100,000 stored objects, and what an object costs in memory
	go test -run '^$$' -bench . -benchmem ./pkg/...

.PHONY: fuzz
fuzz: ## Fuzz the parsers, a minute each
	@set -e; for target in FuzzParseServerHost FuzzResolveGateway FuzzTranslateVirtualService FuzzTranslateGateway; do \
		go test ./pkg/istio -run '^$$' -fuzz "^$$target$$" -fuzztime 60s; done
	go test ./pkg/admission -run '^$$' -fuzz '^FuzzHandle$$' -fuzztime 60s
	go test ./pkg/check -run '^$$' -fuzz '^FuzzLoad$$' -fuzztime 60s

.PHONY: generate
generate: ## Write docs/rules.md and manifests/base/webhooks.yaml anew
	go run ./internal/generate

.PHONY: lint
lint: $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION) ## Run the linters
	$< run ./...
	cd e2e && $< run --config ../.golangci.yml ./...

.PHONY: verify
verify: ## Check that generated files, go.mod and go.sum are current
	go run ./internal/generate -check
	go mod tidy -diff
	cd e2e && go mod tidy -diff

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(BIN)

.PHONY: help
help: ## Show this list
	@sed -n -e 's/^## \(.*\)/\n\1:/p' -e 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r name text; do \
			if [ -n "$$text" ]; then printf '  %-12s %s\n' "$$name" "$$text"; else printf '%s\n' "$$name"; fi; done

$(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION):
	GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv $(BIN)/golangci-lint $@
