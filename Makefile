# The two that matter: `make demo` runs the main job, `make test` passes the tests. Both install what they need.

PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: test test-slow test-sanitize check native setup demo demo-short bench coverage mutations fuzz clean

test: native check
	$(BIN)/pytest -m "not slow"
	$(MAKE) test-sanitize

test-slow: native
	$(BIN)/pytest -m slow --ignore=tests/test_mutations.py
	# By themselves: a child's peak memory, as the system counts it, is at least what its parent had when it was started.
	$(BIN)/pytest -m slow tests/test_mutations.py
	$(BIN)/python csrc/build_native.py --sanitize
	ASAN_OPTIONS=quarantine_size_mb=8 tools/sanitized $(BIN)/pytest -p no:cacheprovider -m slow tests/test_mutations.py

# The C core's own tests and the replay of the fuzz corpus, under ASan and UBSan.
test-sanitize: setup
	$(BIN)/python csrc/build_native.py --sanitize
	tools/sanitized $(BIN)/pytest -p no:cacheprovider -m "not slow" tests/engine
	$(BIN)/python tools/fuzz --replay

check: setup
	$(BIN)/ruff check .
	$(BIN)/mypy --strict -p prsync

native: setup
	$(BIN)/python csrc/build_native.py

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml tools/setup
	tools/setup "$(PYTHON)" "$(VENV)"
	touch $@

demo: native
	$(BIN)/python -m demo

demo-short: native
	$(BIN)/python -m demo --short

bench: native
	$(BIN)/python -m bench

# How much of the C core its tests and the fuzz corpus reach, a figure per file. Needs gcov.
coverage: setup
	$(BIN)/python tools/coverage

# Ten minutes of mutated sessions for each side, under ASan and UBSan, and two as built for use, where memory is measured.
SIDES = client-pull client-push client-shell daemon-send daemon-receive server-send server-receive read-batch
mutations: native
	$(BIN)/python csrc/build_native.py --sanitize
	for side in $(SIDES); do \
		ASAN_OPTIONS=quarantine_size_mb=8 tools/sanitized $(BIN)/python -m tests.mutation $$side && \
		$(BIN)/python -m tests.mutation $$side --seconds 120 || exit 1; done

# Searches each decoder for a minute with clang's libFuzzer, else with many mutations of the corpus.
fuzz: setup
	command -v clang >/dev/null || { PRSYNC_FUZZ_MUTATIONS=20000 $(BIN)/python tools/fuzz --replay; exit; }; \
	for name in $(patsubst csrc/fuzz/fuzz_%.c,%,$(wildcard csrc/fuzz/fuzz_*.c)); do $(BIN)/python tools/fuzz $$name 60 || exit 1; done

clean:
	rm -rf build dist *.egg-info prsync/*.so
