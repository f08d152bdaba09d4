# What is built goes to bin/, what is released to dist/; git ignores both.
BIN := $(CURDIR)/bin
DIST ?= $(CURDIR)/dist
GOLANGCI_LINT_VERSION := v2.15.0
ACTIONLINT_VERSION := v1.7.12

# What a program says of itself. Where there is no git repository (an archive, a container), they have to be given.
VERSION ?= $(shell git describe --tags --always --dirty --abbrev=12 2>/dev/null)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null)
STAMP = $(addprefix -X github.com/meshwarden/meshwarden/cmd/webhook/version.,\
	version=$(VERSION) commit=$(COMMIT) seconds=$(SOURCE_DATE_EPOCH))

# The race detector needs a C compiler.
RACE := $(shell [ "$$(go env CGO_ENABLED)" = 1 ] && command -v "$$(go env CC)" >/dev/null && echo -race)

.DEFAULT_GOAL := help

## Use

.PHONY: build
build: ## Build bin/webhook
	go build -ldflags "$(STAMP)" -o $(BIN)/webhook ./cmd/webhook

.PHONY: installer
installer: ## Build bin/installer
	cd installer && go build -ldflags "$(STAMP)" -o $(BIN)/installer ./cmd/installer

.PHONY: run
run: ## Start a local control plane and Meshwarden, walk through the main job, stay until Ctrl-C; MESH=1: with all of Istio
	@cd e2e && go run ./cmd/build $(if $(MESH),controlplane certmanager installer pilot-discovery,controlplane-small) webhook walk
	@cd e2e && exec $(BIN)/walk -webhook $(BIN)/webhook $(if $(MESH),-mesh -controlplane $(BIN)/controlplane \
		-installer $(BIN)/installer -istiod $(BIN)/pilot-discovery -certmanager $(BIN)/certmanager,-controlplane $(BIN)/controlplane-small)

## Develop

.PHONY: test
test: test-unit test-e2e ## Run every test, unit to end-to-end

# The installer goes without the race detector, for which Istio and Helm would have to be compiled once more.
.PHONY: test-unit
test-unit: ## Run the tests that need no control plane
	go test $(RACE) ./...
	cd installer && go test ./...

# A result of before must not stand in for one: go test does not see when manifests and programs change, which are outside its module.
.PHONY: test-e2e
test-e2e: ## Run the tests on a real etcd and kube-apiserver
	@cd e2e && go run ./cmd/build controlplane controlplane-small certmanager kubectl installer pilot-discovery webhook webhook-race
	cd e2e && go test -count 1 -p 1 -parallel 3 -timeout 40m ./...

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
	cd installer && go test ./pkg/document -run '^$$' -fuzz '^FuzzRead$$' -fuzztime 60s

.PHONY: generate
generate: ## Write docs/rules.md, manifests/base/webhooks.yaml and the templates of the chart anew
	go run ./internal/generate

.PHONY: lint
lint: $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION) $(BIN)/actionlint-$(ACTIONLINT_VERSION) ## Run the linters
	$< run ./...
	cd installer && $< run --config ../.golangci.yml ./...
	cd e2e && $< run --config ../.golangci.yml ./...
	$(BIN)/actionlint-$(ACTIONLINT_VERSION)

.PHONY: verify
verify: ## Check that generated files, go.mod and go.sum are current
	go run ./internal/generate -check
	go mod tidy -diff
	cd installer && go mod tidy -diff
	cd e2e && go mod tidy -diff

.PHONY: clean
clean: ## Remove what was built
	rm -rf $(BIN) $(DIST)

.PHONY: help
help: ## Show this list
	@sed -n -e 's/^## \(.*\)/\n\1:/p' -e 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r name text; do \
			if [ -n "$$text" ]; then printf '  %-12s %s\n' "$$name" "$$text"; else printf '%s\n' "$$name"; fi; done

## Release

PROGRAM ?= webhook
PROGRAMS ?= webhook $(notdir $(wildcard installer/cmd/installer))
GOOS ?= $(shell go env GOOS)
GOARCH ?= $(shell go env GOARCH)
OUT ?= $(DIST)/$(PROGRAM)-$(GOOS)-$(GOARCH)

# The same commit and compiler make the same bytes, in every folder, with and without a git repository.
.PHONY: binary
binary: ## Build the static program PROGRAM for GOOS and GOARCH into dist/
	cd $(if $(filter installer,$(PROGRAM)),installer,.) && CGO_ENABLED=0 GOOS=$(GOOS) GOARCH=$(GOARCH) \
		go build -trimpath -buildvcs=false -ldflags "-s -w -buildid= $(STAMP)" \
		-o $(abspath $(OUT)) ./cmd/$(PROGRAM)

.PHONY: release
release: PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64
release: ## Build all programs for all PLATFORMS into dist/, with an SBOM of each and SHA256SUMS
	rm -rf $(DIST)
	set -e; for program in $(PROGRAMS); do for platform in $(PLATFORMS); do \
		$(MAKE) --no-print-directory binary PROGRAM=$$program GOOS=$${platform%/*} GOARCH=$${platform#*/}; done; done
	cd e2e && go run ./cmd/sbom -version "$(VERSION)" -seconds "$(SOURCE_DATE_EPOCH)" $(DIST)/*
	cd $(DIST) && $$(command -v sha256sum || echo shasum -a 256) * >SHA256SUMS

# A docker client without its daemon builds nothing. buildah would add to a list of platforms that has the name already, takes
# the platform that it runs on for an argument of the build, and wants BINARIES said even where it is the default.
ENGINE ?= $(shell if docker info >/dev/null 2>&1 && docker buildx version >/dev/null 2>&1; then echo docker; \
	elif command -v buildah >/dev/null; then echo buildah; fi)
IMAGE ?= meshwarden/$(PROGRAM)
TAG ?= $(VERSION)
BINARIES ?= built
space := $(subst ,, )
comma := ,
IMAGE_ARGS = --target $(PROGRAM) --platform $(subst $(space),$(comma),$(strip $(PLATFORMS))) \
	$(foreach name,VERSION COMMIT SOURCE_DATE_EPOCH BUILDER BASE BINARIES GOPROXY,\
	$(if $($(name)),--build-arg $(name)=$($(name))))

.PHONY: image
image: PLATFORMS ?= linux/$(shell go env GOARCH)
image: ## Build the image IMAGE:TAG of PROGRAM for PLATFORMS, on BASE, with docker or buildah
	@case "$(ENGINE)" in \
	docker) set -x; docker buildx build $(IMAGE_ARGS) --tag $(IMAGE):$(TAG) $(or $(IMAGE_FLAGS),--load) . ;; \
	buildah) buildah rmi $(IMAGE):$(TAG) >/dev/null 2>&1 || true; \
		set -x; env -u SOURCE_DATE_EPOCH buildah build $(IMAGE_ARGS) --build-arg BUILDPLATFORM=linux/$(shell go env GOHOSTARCH) \
		$(SOURCE_DATE_EPOCH:%=--timestamp %) --identity-label=false \
		$(if $(word 2,$(PLATFORMS)),--manifest,--tag) $(IMAGE):$(TAG) $(IMAGE_FLAGS) . ;; \
	*) echo "make image needs docker (with its daemon and buildx) or buildah" >&2; exit 1 ;; \
	esac

.PHONY: test-image
test-image: ## Build the images' last stages with buildah from scratch, and run what is in them
	cd e2e && go test ./image ./cmd/sbom

$(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION):
	GOBIN=$(BIN) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv $(BIN)/golangci-lint $@

$(BIN)/actionlint-$(ACTIONLINT_VERSION):
	GOBIN=$(BIN) go install github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)
	mv $(BIN)/actionlint $@
