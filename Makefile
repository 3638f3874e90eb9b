# What people and CI call. `make demo` and `make test` need nothing before them.
# A target's line says after ## what it is for: `make help` prints that.

CARGO   ?= cargo
DESTDIR ?=
PREFIX  ?= /usr/local
BIN      = $(DESTDIR)$(PREFIX)/bin
SHARE    = $(DESTDIR)$(PREFIX)/share
# What is installed is optimized across crates; the demo does not wait for that.
BUILT   ?= target/dist
SCRIPTS  = scripts/deploy-to-vps.sh scripts/post-deploy-verify.sh
# The commit is in what `--version` says.
CM_COMMIT ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
# No path of this machine is in a packaged program, not even in its panics.
PACKED   = CM_COMMIT=$(CM_COMMIT) RUSTFLAGS="--remap-path-prefix=$(CURDIR)=. --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo"
DIST     = $(PACKED) $(CARGO) build --profile dist $(PROGRAMS:%=-p %)
TOOLS    = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/cm-test
LINTERS  = $(TOOLS)/lint/bin
# The runner of tests: the one on the PATH, or the one that `scripts/setup.sh --tests` brings.
NEXTEST  = PATH="$$PATH:$(TOOLS)/tests/bin" CM_BIN_DIR=$(CURDIR)/target/debug $(CARGO) nextest run --workspace
# What starts servers of its own is a test group; .config/nextest.toml says which tests.
SERVERS  = group(sandbox)
SHELLS   = scripts/*.sh scripts/sandbox scripts/vps/*.sh scripts/bench/*.sh scripts/sandbox.d/*.sh
PROGRAMS = cm-lock cm-detect cm-backup cm-build cm-health cm-verify cm-rollback cm-record

.PHONY: all help build dist portable programs test test-unit test-sandbox lint faults fuzz bench man demo demo-down demo-swarm demo-swarm-down install uninstall deb completions clean

all: build

help: ## Print this
	@sed -n 's/^\([a-z][a-z-]*\):[^#=]*## /\1\t/p' Makefile | expand -t 16

build: ## Build the programs (release) into target/release
	CM_COMMIT=$(CM_COMMIT) $(CARGO) build --release $(PROGRAMS:%=-p %)

dist: ## Build what is installed and measured, optimized across crates, into target/dist
	$(DIST)

portable: ## Build the programs for servers with an older system (glibc 2.17 or later) into target/portable
	$(PACKED) scripts/portable.sh $(PROGRAMS)

test: lint programs ## Run everything, set-up included, nothing skipped; what CI runs
	$(NEXTEST)

test-unit: programs ## Run unit and protocol tests; seconds once things are compiled
	$(NEXTEST) --filterset 'not $(SERVERS)'

test-sandbox: programs ## Run the tests on real servers: sshd, Docker, a database
	$(NEXTEST) --filterset '$(SERVERS)'

# The demonstration runs the same programs, so that nothing is compiled twice.
programs:
	scripts/setup.sh --tests
	$(CARGO) build --workspace

lint: ## Check formats, lints, shell scripts, spelling, dependencies, and that nothing generated is committed
	scripts/setup.sh --lint
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	shellcheck -x -P SCRIPTDIR $(filter-out scripts/sandbox.d/%,$(wildcard $(SHELLS)))
	shfmt -d $(SHELLS)
	$(LINTERS)/typos
	$(LINTERS)/cargo-deny --locked check bans licenses sources
	$(LINTERS)/cargo-shear
	scripts/committed.sh

faults: programs ## Try every attack and fault in its long version: what SECURITY.md promises; hours
	CM_SUSPENSIONS=100 CM_BUILD_KILLS=10 CM_LOCK_KILLS=50 CM_HOSTILE=1 CM_FAULTS=all CM_FAULTS_TABLE=1 CM_SECRETS=all CM_FIELDS=all CM_LOAD=1 CM_SWARM_KILLS=10 \
	    $(NEXTEST) --profile long --filterset 'binary(/^(attacks|hostile.*|secrets|fields|faults|load|model|lock|lock_link|build|health_faults|trouble|swarm)$$/)'

# Coverage as libFuzzer wants it, on the stable compiler; for the target alone, so that build scripts have none of it.
FUZZ_TARGET = $(shell rustc -vV | sed -n 's/^host: //p')
FUZZ_FLAGS  = -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing
FUZZ_RUNS   ?= 10000000
FUZZ_LENGTH ?= 4096

fuzz: ## Fuzz every reader, guided by coverage, FUZZ_RUNS executions of FUZZ_LENGTH bytes at most; the corpus grows in tests/fuzz/target/corpus
	cd tests/fuzz && RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --release --target $(FUZZ_TARGET)
	mkdir -p tests/fuzz/target/corpus
	tests/fuzz/target/$(FUZZ_TARGET)/release/cm-fuzz -runs=$(FUZZ_RUNS) -max_len=$(FUZZ_LENGTH) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	    -artifact_prefix=tests/fuzz/target/ tests/fuzz/target/corpus tests/fuzz/corpus

bench: dist ## Measure against named peers: one table, in the README too; nothing else should be running
	CM_BIN_DIR=$(CURDIR)/target/dist scripts/bench/run.sh

man: ## Write manual pages and schemas again from the programs' definitions
	$(CARGO) run -q -p cm-docs -- man

demo: ## Make two servers, deploy, break something, roll back
	scripts/demo.sh

demo-down: ## Remove the demo's servers
	scripts/demo.sh --down

demo-swarm: ## Make a Swarm of three, deploy, break something, drain a node, kill the leader
	scripts/demo-swarm.sh

demo-swarm-down: ## Remove the Swarm of the demo
	scripts/demo-swarm.sh --down

install: $(if $(filter target/dist,$(BUILT)),dist) completions ## Install programs, scripts, manuals, schemas and completions below $(DESTDIR)$(PREFIX)
	install -d $(BIN) $(SHARE)/man/man1 $(SHARE)/man/man5 $(SHARE)/man/man7 $(SHARE)/cm/schemas
	install -m755 $(PROGRAMS:%=$(BUILT)/%) $(SCRIPTS) $(BIN)/
	for section in 1 5 7; do install -m644 man/*.$$section $(SHARE)/man/man$$section/ || exit 1; done
	install -m644 man/schemas/*.json $(SHARE)/cm/schemas/
	install -d $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	for program in $(PROGRAMS); do \
	    install -m644 target/completions/$$program.bash $(SHARE)/bash-completion/completions/$$program && \
	    install -m644 target/completions/_$$program $(SHARE)/zsh/site-functions/ && \
	    install -m644 target/completions/$$program.fish $(SHARE)/fish/vendor_completions.d/ || exit 1; \
	done

deb: $(if $(filter target/dist,$(BUILT)),dist) ## Make a Debian package in dist/ (reproducible; see scripts/package.sh)
	BUILT=$(BUILT) scripts/package.sh

completions: ## Write completions of bash, zsh and fish into target/completions
	mkdir -p target/completions
	$(or $(wildcard $(BUILT)/cm-docs),$(CARGO) run -q -p cm-docs --) --completions target/completions

uninstall: ## Remove what `make install` put there, and nothing else
	cd $(BIN) && rm -f $(PROGRAMS) $(notdir $(SCRIPTS))
	for section in 1 5 7; do for page in man/*.$$section; do \
	    rm -f $(SHARE)/man/man$$section/$${page##*/}; done; done
	rm -rf $(SHARE)/cm/schemas && rmdir $(SHARE)/cm 2>/dev/null || :
	for program in $(PROGRAMS); do \
	    rm -f $(SHARE)/bash-completion/completions/$$program $(SHARE)/zsh/site-functions/_$$program \
	        $(SHARE)/fish/vendor_completions.d/$$program.fish; done

clean: ## Remove what was built
	$(CARGO) clean
