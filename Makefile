# What people and CI call. `make demo` and `make test` need nothing before them.

CARGO   ?= cargo
DESTDIR ?=
PREFIX  ?= /usr/local
SCRIPTS  = scripts/deploy-to-vps.sh scripts/post-deploy-verify.sh
PROGRAMS = cm-lock cm-detect cm-backup cm-build cm-health cm-verify cm-rollback cm-record

.PHONY: all build test test-unit test-sandbox lint bench man demo demo-down install uninstall clean

all: build

build:
	$(CARGO) build --release $(PROGRAMS:%=-p %)

# Everything: set-up included, nothing skipped.
test: lint test-unit test-sandbox

test-unit:
	scripts/setup.sh --tests
	$(CARGO) build --workspace
	CM_BIN_DIR=$(CURDIR)/target/debug $(CARGO) test --workspace --exclude cm-tests
	CM_BIN_DIR=$(CURDIR)/target/debug $(CARGO) test -p cm-tests --test protocol

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

install: build
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man7
	install -m755 $(PROGRAMS:%=target/release/%) $(SCRIPTS) $(DESTDIR)$(PREFIX)/bin/
	install -m644 $(PROGRAMS:%=man/%.1) $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m644 man/cm.7 $(DESTDIR)$(PREFIX)/share/man/man7/

uninstall:
	cd $(DESTDIR)$(PREFIX)/bin && rm -f $(PROGRAMS) $(notdir $(SCRIPTS))
	cd $(DESTDIR)$(PREFIX)/share/man/man1 && rm -f $(PROGRAMS:%=%.1)
	rm -f $(DESTDIR)$(PREFIX)/share/man/man7/cm.7

clean:
	$(CARGO) clean
