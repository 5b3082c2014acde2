# make run and make test are all that a newcomer needs; each installs what it uses.
PYTHON ?= python3
VENV := .venv

.PHONY: run test check bench install install-test install-bench install-system lock clean

run: install
	$(VENV)/bin/riptide serve

test: install-test install-system check
	$(VENV)/bin/pytest

check: install-test
	scripts/check

bench: install-bench
	$(VENV)/bin/python -m benchmarks

install: $(VENV)/installed-run
install-test: $(VENV)/installed-test
install-bench: $(VENV)/installed-bench

$(VENV)/installed-%: requirements/%.txt pyproject.toml
	scripts/install $(PYTHON) $(VENV) $<
	touch $@

install-system:
	scripts/install-system

lock: install-test
	scripts/lock

clean:
	rm -rf $(VENV)
