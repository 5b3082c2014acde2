# A newcomer needs make run and make test only. Each target installs what it uses.
PYTHON ?= python3
VENV := .venv

.PHONY: run test check bench bench-delivery bench-cluster soak collector nats kit docs stack cluster drill install install-test install-system lock clean

run: install
	$(VENV)/bin/riptide serve

# Most tests wait for processes and sockets, so that more of them run at once than there are cores.
test: install-test install-system collector nats check
	$(VENV)/bin/pytest --numprocesses 4 --dist loadfile

check: install-test
	scripts/check

soak: install-test
	$(VENV)/bin/python -m benchmarks.endurance churn

bench: install-test
	$(VENV)/bin/python -m benchmarks

install: $(VENV)/installed-run
install-test: $(VENV)/installed-test

$(VENV)/installed-%: requirements/%.txt pyproject.toml telemetry/pyproject.toml
	scripts/install $(PYTHON) $(VENV) $<
	touch $@

install-system:
	scripts/install-system

bench-delivery: install-test
	$(VENV)/bin/python -m benchmarks delivery

# Redis, for Centrifugo, is Debian's redis-server.
bench-cluster: install-test nats
	scripts/build-centrifugo $(VENV)/bin
	$(VENV)/bin/python -m benchmarks cluster

collector: install-test
	scripts/build-collector $(VENV)/bin

nats: install-test
	scripts/build-nats-server $(VENV)/bin

kit: install-test
	$(VENV)/bin/python -m operations

docs: install-test
	$(VENV)/bin/sphinx-build --fail-on-warning --keep-going --quiet -c docs . site
	@echo "The documents are a site now: site/index.html"

stack:
	docker compose up --build --detach
	@echo "Riptide http://localhost:8080, Grafana http://localhost:3000, Prometheus http://localhost:9090, Alertmanager http://localhost:9093"
	@echo "docker compose down ends it."

# Three servers of NATS, three instances, Caddy and Prometheus on this machine, until Ctrl-C.
cluster: install-test install-system nats
	@$(VENV)/bin/python -m operations.cluster

drill: install-test install-system
	$(VENV)/bin/python -m operations.drill

lock: install-test
	scripts/lock

clean:
	rm -rf $(VENV) site
