GO      ?= go
BIN     := bin
PREFIX  ?= /usr/local
MODTOOL := $(GO) tool -modfile=tools/tools.mod
FUZZTIME ?= 10s
SEEDS   ?= 500
POSIX   := TestPjdfstest|ACLs|ExtendedAttributes|WithoutAName|Handles|RenameWithFlags|WhileTheDirectoryChanges|PrivilegesEnd

.PHONY: build run test scenarios sim posix race check fuzz bench install clean

build: ## static programs in bin/
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN)/ ./cmd/...

run: build ## a cluster on this machine; flags in ARGS
	$(BIN)/rozo up $(ARGS)

test: build ## everything, with real FUSE mounts
	$(GO) test -shuffle=on -timeout 60m -p 2 ./...

scenarios: ## the end-to-end tests at full size; an hour or two
	ROZO_SCENARIO_SCALE=full $(GO) test -count=1 -v -timeout 6h ./tools/scenario/

sim: ## whole clusters, broken by a seed: SEEDS=5000, or SEEDS=17..17 for one again
	SEEDS=$(SEEDS) $(GO) test -count=1 -timeout 24h -run TestCluster ./tools/sim/

posix: ## pjdfstest on a fresh mount: PJDFSTEST=DIR, where it is built; and what it does not look at
	test -x "$(PJDFSTEST)/pjdfstest" || { echo "PJDFSTEST must name a directory of pjdfstest, built: see docs/posix.md" >&2; false; }
	ROZO_SCENARIO_SCALE=full PJDFSTEST="$(abspath $(PJDFSTEST))" $(GO) test -count=1 -v -timeout 3h -run '$(POSIX)' ./tools/scenario/

race: build
	$(GO) test -race -shuffle=on -timeout 60m -p 2 ./...

check: ## govulncheck fails only on a finding: without its database it says so
	$(GO) vet ./...
	$(MODTOOL) staticcheck ./...
	test -z "$$($(MODTOOL) gofumpt -l . | tee /dev/stderr)"
	$(MODTOOL) govulncheck ./... || test $$? -ne 3

fuzz: ## each target for FUZZTIME
	grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed 's|/[^/]*:func | |' | sort -u | while read dir name; do \
		$(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) "$$dir" || exit 1; done

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...

install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)/sbin
	install $(BIN)/* $(DESTDIR)$(PREFIX)/bin/
	ln -sf $(PREFIX)/bin/rozofsmount $(DESTDIR)/sbin/mount.rozofs

clean:
	rm -rf $(BIN)
