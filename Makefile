# `make` alone says what there is. Every target works from a fresh checkout: what it needs is built or downloaded first, into a cache
# outside of the repository, so the second time is fast.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

VERSION ?= dev
CACHE   := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/longshore
export GOFLAGS = -buildvcs=false

.PHONY: help
help: ## Say what there is
	@awk -F ':.*## ' '/^## / {print "\n" substr($$0, 4)} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' Makefile
	@echo

## Product

# No C, and no paths of the machine that builds; time zones are in the program because its image has nothing else.
BUILD = CGO_ENABLED=0 go build -trimpath -tags timetzdata -ldflags '-s -w -X main.version=$(VERSION)'

.PHONY: build
build: ## Build bin/longshore, static (VERSION=dev)
	$(BUILD) -o bin/longshore ./cmd/longshore

IMAGE ?= longshore:$(VERSION)

.PHONY: image
image: ## Build the controller's image as dist/longshore.tar, without Docker; PUSH=1 pushes it (IMAGE=longshore:dev, PLAIN_HTTP=1)
	@mkdir -p dist
	cd e2e && go run ./cmd/image --version $(VERSION) --tag $(IMAGE) --output $(CURDIR)/dist/longshore.tar $(if $(PUSH),--push) $(if $(PLAIN_HTTP),--plain-http)

.PHONY: demo
demo: parts build ## Show the whole story on a real cluster of two nodes; KEEP=1 keeps the cluster
	cd e2e && go run ./cmd/demo $(if $(KEEP),-keep)

## Tests

.PHONY: check
check: ## Format, vet, lint, unit tests and scenarios: what to run before every commit
	@start=$$SECONDS; $(MAKE) --no-print-directory -k lint unit; echo "check took $$((SECONDS - start)) s"

# Everything, as groups that run one after the other, each with the time it may take at most; the parts are what the clusters are made
# of, and take most of the time on a cold machine. A group that fails keeps no other from running.
GROUPS = check=30m race=14m worlds=12m fuzz=8m verdicts=20m parts=50m nodes=10m cluster=10m e2e=25m faults=45m demo=12m

.PHONY: test
test: deps ## Everything that this machine can run, with a table of time by group
	@mkdir -p $(CACHE)/tools
	@cd tools && CGO_ENABLED=0 go build -o $(CACHE)/tools/groups ./groups
	@FUZZTIME=3s $(CACHE)/tools/groups -limit 85m $(GROUPS)

# The race detector is for the packages that have goroutines; the pure core has none. It is cheap only for some.
CHEAP = ./apply/... ./informers/...

.PHONY: unit
unit: ## Unit tests and scenarios of every module
	@echo "--- unit tests"
	@go test -timeout 5m $$(go list ./... | grep -vE '/(apply|informers)(/|$$)')
	@CGO_ENABLED=1 go test -race -timeout 5m $(CHEAP)
	@echo "--- unit tests of e2e and tools"
	@cd e2e && go test -short -timeout 5m $$(go list ./... | grep -v 'tests$$') && go vet ./...
	@cd tools && go test ./...
	@cd tools/rules && go test -count=1 ./... # what it reads is not in its module, so Go would not see that it changed

.PHONY: race
race: ## Unit tests with the race detector, wherever there are goroutines
	CGO_ENABLED=1 go test -race -timeout 9m -skip "TestSmallWorlds|TestSeededHistories" $(CHEAP) ./cmd/... $$(go list ./controller/... | grep -v /history$$)
	CGO_ENABLED=1 SEEDS=20 DEPTH=6 go test -race -timeout 5m ./controller/simulation/history

.PHONY: worlds
worlds: ## Histories of the pass and of the core from seeds (SEEDS=3000), with what met what, and small worlds in every order (DEPTH=13, STATES=20000)
	DEPTH=$(or $(DEPTH),13) SEEDS=$(or $(SEEDS),1500) go test -count=1 -timeout 9m -v ./controller/simulation/history | grep -v '^=== '
	STATES=$(or $(STATES),20000) SEEDS=$(or $(SEEDS),3000) go test -count=1 -timeout 9m -v -run 'TestSmallWorlds|TestSeededHistories' ./controller | grep -v '^=== '

.PHONY: soak
soak: ## Histories of the pass (SEEDS=5000), of the core (ten times as many), and some with informers and writes in virtual time
	SEEDS=$(or $(SEEDS),5000) go test -count=1 -timeout 0 -v -run TestWhateverHappens ./controller/simulation/history
	SEEDS=$(or $(SEEDS),5000)0 go test -count=1 -timeout 0 -v -run TestSeededHistories ./controller
	SEEDS=100 go test -count=1 -timeout 0 -run TestWhateverHappens ./controller

.PHONY: mutants
mutants: ## Put bugs into the product, and see that the histories find each; about ten minutes
	cd tools && SEEDS=$(or $(SEEDS),3000) go run ./mutants -dir ..

# The states of specs and pools that the controller's tests write are judged beside the corpus. The flags are those of the parts, so that both
# share what is built.
STATES := $(CACHE)/states.jsonl

.PHONY: verdicts
verdicts: ## Judge the health checks in gitops/ by the evaluators of Argo CD and Flux: the corpus, and every state of the controller's tests
	@mkdir -p $(CACHE); rm -f $(STATES)
	LONGSHORE_STATES=$(STATES) go test -count=1 -short -timeout 5m ./controller
	for engine in argocd flux; do (cd e2e/parts/$$engine && LONGSHORE_STATES=$(STATES) GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0 go test -trimpath -count=1 -timeout 5m ./health); done

.PHONY: gitops
gitops: deps ## Have the real Argo CD, the real Flux and kubectl drive Longshore, and print what each said (RUN=TestArgoCD); a quarter of an hour, 20 minutes more the first time
	cd e2e && go test -count=1 -v -timeout 60m -run '$(or $(RUN),.)' ./gitops

FUZZTIME ?= 20s

.PHONY: fuzz
fuzz: ## Fuzz every target for a while (FUZZTIME=20s)
	@for dir in $$(grep -rlE --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for target in $$(grep -hoE --include='*_test.go' -r '^func Fuzz[A-Za-z0-9_]*' $$dir | cut -c6- | sort -u); do \
	    echo "--- $$dir $$target"; (cd $$dir && go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) .); \
	  done; \
	done

.PHONY: bench
bench: parts ## Benchmarks of the core, then of clusters with 1,000 and 5,000 simulated nodes; about 40 minutes
	go test -run '^$$' -bench . -benchmem ./...
	cd e2e && go test -count=1 -v -timeout 60m ./bench

.PHONY: nodes
nodes: ## Test the nodes of the test cluster, without Kubernetes (root)
	cd e2e && go test -count=1 -timeout 9m ./cluster/node/... ./cluster/process/... ./cluster/pki/...

.PHONY: cluster
cluster: ## Test the test cluster itself
	cd e2e && go test -count=1 -timeout 9m ./cluster ./cluster/keeper ./cmd/cluster

.PHONY: e2e
e2e: ## End-to-end tests on real nodes (root)
	cd e2e && go test -count=1 -timeout 24m ./tests/...

.PHONY: faults
faults: ## Kills, lost answers, broken watches and payloads on real nodes (root)
	cd e2e && go test -count=1 -timeout 44m ./faults/... ./faulttests/...

## Style

# The linter is built once for each version of tools/go.mod and Go, because even a warm `go tool` takes seconds to find out that
# there is nothing to build.
LINT = $(CACHE)/tools/golangci-lint-$(shell cat tools/go.mod tools/go.sum $$(go env GOROOT)/VERSION | sha256sum | cut -c1-12)

.PHONY: linter
linter:
	@test -x $(LINT) || { echo "building the linter, the first time only: one to three minutes"; \
	  mkdir -p $(CACHE)/tools; cd tools && CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o $(LINT).new github.com/golangci/golangci-lint/v2/cmd/golangci-lint && \
	  mv $(LINT).new $(LINT); }

.PHONY: lint
lint: linter ## Check format, vet and lint every module
	@echo "--- lint"
	@failed=0; for module in . e2e tools; do (cd $$module && $(LINT) run ./...) || failed=1; done; exit $$failed

.PHONY: fmt
fmt: linter ## Format every module
	@for module in . e2e tools; do (cd $$module && $(LINT) fmt ./...); done

## Test cluster

NODES ?= 2

.PHONY: cluster-up
cluster-up: parts ## Bring a real cluster up on this machine (root, NODES=2)
	cd e2e && go run ./cmd/cluster up --nodes $(NODES)

.PHONY: cluster-down
cluster-down: ## Take it down, or what a crash left of it
	cd e2e && go run ./cmd/cluster down

.PHONY: parts
parts: deps ## Build what clusters are made of; 25 minutes on two cold cores, no time afterwards
	cd e2e && go run ./cmd/cluster build

.PHONY: deps
deps: ## Install the Debian packages that the parts and the tests need and that are missing (root)
	@command -v apt-get >/dev/null || { echo "deps: this is no Debian; runc and the race detector need a C compiler, everything else is brought along"; exit 0; }; \
	missing=$$({ dpkg-query -W -f '$${Package} $${db:Status-Status}\n' $(DEBIAN) 2>/dev/null || true; } | awk '$$2 == "installed" {print $$1}' | sort | \
	  comm -13 - <(printf '%s\n' $(sort $(DEBIAN)))); \
	if [ -n "$$missing" ]; then apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; fi

# A C compiler for the race detector and for runc. All else is downloaded by the parts themselves, into their cache.
DEBIAN = ca-certificates gcc git libc6-dev util-linux
