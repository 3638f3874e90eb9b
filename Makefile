# What people and CI call. `make demo` and `make test` need nothing before them.

CARGO   ?= cargo
DESTDIR ?=
PREFIX  ?= /usr/local
BIN      = $(DESTDIR)$(PREFIX)/bin
SHARE    = $(DESTDIR)$(PREFIX)/share
BUILT   ?= target/release
SCRIPTS  = scripts/deploy-to-vps.sh scripts/post-deploy-verify.sh
PROGRAMS = cm-lock cm-detect cm-backup cm-build cm-health cm-verify cm-rollback cm-record

.PHONY: all build test test-unit test-sandbox lint bench man demo demo-down install uninstall completions clean

all: build

# The commit is in what `--version` says.
build: export CM_COMMIT ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
build:
	$(CARGO) build --release $(PROGRAMS:%=-p %)

# Everything: set-up included, nothing skipped.
test: lint test-unit test-sandbox

test-unit:
	scripts/setup.sh --tests
	$(CARGO) build --workspace
	CM_BIN_DIR=$(CURDIR)/target/debug $(CARGO) test --workspace --exclude cm-tests
	CM_BIN_DIR=$(CURDIR)/target/debug $(CARGO) test -p cm-tests --test protocol --test manual --test shell

# Real servers: sshd, Docker, a database; one sandbox a test.
test-sandbox:
	scripts/setup.sh --tests
	$(CARGO) build --workspace
	CM_BIN_DIR=$(CURDIR)/target/debug $(CARGO) test -p cm-tests -- --nocapture

lint:
	scripts/setup.sh --tests
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	shellcheck -x -P SCRIPTDIR scripts/*.sh scripts/sandbox scripts/vps/*.sh scripts/bench/*.sh

# Ratios against named peers, measured in the same run. Nothing else should be running.
bench: build
	for script in scripts/bench/*.sh; do CM_BIN_DIR=$(CURDIR)/target/release $$script || exit 1; done

# The manual pages and schemas, anew from the programs' definitions.
man:
	$(CARGO) run -q -p cm-docs -- man

demo:
	scripts/demo.sh

demo-down:
	scripts/demo.sh --down

# Programs, scripts, manual pages, schemas and completions of bash, zsh and fish.
install: build completions
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

completions:
	mkdir -p target/completions
	$(CARGO) run -q -p cm-docs -- --completions target/completions

# What `make install` put there, and nothing else.
uninstall:
	cd $(BIN) && rm -f $(PROGRAMS) $(notdir $(SCRIPTS))
	for section in 1 5 7; do for page in man/*.$$section; do \
	    rm -f $(SHARE)/man/man$$section/$${page##*/}; done; done
	rm -rf $(SHARE)/cm/schemas && rmdir $(SHARE)/cm 2>/dev/null || :
	for program in $(PROGRAMS); do \
	    rm -f $(SHARE)/bash-completion/completions/$$program $(SHARE)/zsh/site-functions/_$$program \
	        $(SHARE)/fish/vendor_completions.d/$$program.fish; done

clean:
	$(CARGO) clean
