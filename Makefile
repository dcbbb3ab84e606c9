# The front door: short names for what Meson and the scripts do. `make help` lists them.
PREFIX ?= /usr/local


all: build/hearth ## build build/hearth (the default)

build/hearth: FORCE
	@scripts/install-deps build
	@python3 scripts/build.py build

run: build/hearth ## build, start the node with the starter model, show a first answer, serve until Ctrl-C
	@scripts/first-run

test: ## install what is missing, build with sanitizers, run every test
	@scripts/install-deps build test
	@python3 scripts/run-tests.py

documents: build/hearth ## every document of ../shared through the extractor: states, words, OCR (a minute)
	@HEARTH_BUILD=build python3 tests/extract/test-documents.py --all

bench: build/hearth ## print the benchmark tables (takes minutes)
	@python3 scripts/bench
	@python3 scripts/bench-serving
	@python3 scripts/bench-street
	@python3 scripts/bench-documents
	@python3 scripts/bench-ask

bench-peers: build/hearth ## speeds beside llama.cpp's, where it is found or can be installed
	@python3 scripts/bench --peers

load: build/hearth ## 64 clients for a minute (LOAD_SECONDS) with disconnects, kills and a full disk
	@HEARTH_LOAD_SECONDS=$${LOAD_SECONDS:-60} meson test -C build --no-rebuild -v node-load

bench-index: build/hearth ## searches of 10 k, 100 k and 1 M documents (takes an hour, 12 GB of disk)
	@python3 scripts/bench --index 10000,100000,1000000

lint: ## layout, static analysis, man page, direction of includes
	@scripts/install-deps build lint
	@scripts/lint

asan: ## only the address and undefined behaviour sanitizers' tests
	@scripts/install-deps build test
	@python3 scripts/run-tests.py --only asan

tsan: ## only the thread sanitizer's tests
	@scripts/install-deps build test
	@python3 scripts/run-tests.py --only tsan

simulate: build/hearth ## a simulated day of 1,000 homes that lend to each other, with everything that goes wrong
	@scripts/simulate

fuzz: ## run every fuzzer for FUZZ_SECONDS (60) each
	@scripts/install-deps build fuzz
	@scripts/fuzz

install: build/hearth ## install under PREFIX (/usr/local), staged in DESTDIR
	@meson configure build -Dprefix="$(PREFIX)"
	@DESTDIR="$(DESTDIR)" meson install -C build --quiet
	@echo "hearth: installed under $(DESTDIR)$(PREFIX)"

clean: ## remove the build folders
	rm -rf build build-test build-tsan build-fuzz

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 14

FORCE:
.PHONY: all run test documents bench bench-peers bench-index load lint asan tsan fuzz simulate install clean help FORCE
