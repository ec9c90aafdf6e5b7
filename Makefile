# `make serve` and `make test` need nothing but Python 3.11: scripts/setup makes .venv by itself.
# Pass more with ARGS, as in `make serve ARGS="--port 9000"` or `make test ARGS="-k totals"`.
python := .venv/bin/python
pytest := $(python) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 2

# A run of all tests starts hundreds of processes: each would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help serve test test-servers fuzz chaos cluster bench lint format docs lock dist image clean \
	runtime distributed dev engine engine-env engine-stop

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | while IFS='	' read -r name what; do \
		printf '  make %-12s %s\n' "$$name" "$$what"; done

# Stores on servers need their drivers.
serve: $(if $(MARQUEE_RATINGS_URL),distributed,runtime) ## serve Marquee on http://127.0.0.1:8080
	.venv/bin/marquee serve $(ARGS)

test: lint ## check everything, and test all that needs no servers
	$(pytest) --cov -m "not servers and not long" $(ARGS)

test-servers: dev ## test the rest, on real servers and in containers (fetched at their first use)
	$(pytest) --cov --cov-append -m "servers and not long" $(ARGS)

fuzz: dev ## send a hundred thousand generated requests
	MARQUEE_FUZZ_EXAMPLES=100000 $(python) -m pytest -k fuzz -o timeout=0 $(ARGS)

chaos: dev ## kill, freeze, damage and restore real servers, for a hundred rounds
	MARQUEE_TEST_ROUNDS=100 $(python) -m pytest tests/chaos tests/e2e -m "" -o timeout=0 $(ARGS)

cluster: dev ## try the manifests on a real control plane (built at its first use)
	$(python) -m pytest tests/cluster -m "" -o timeout=0 $(ARGS)

bench: dev ## measure the speed and print its ratios
	$(python) -m benchmarks $(ARGS)

engine: ## start the servers to grow into, on this machine (ARGS=small for one of each)
	python3 -m engine start $(ARGS)

engine-env: ## print the settings that lead to them
	@python3 -m engine env $(ARGS)

engine-stop: ## stop those that were started
	python3 -m engine stop $(ARGS)

lint: dev ## check style, types, the direction of imports and the docs
	$(python) -m ruff check
	$(python) -m ruff format --check
	$(python) -m mypy
	.venv/bin/lint-imports --no-logo
	.venv/bin/hadolint Dockerfile
	$(python) scripts/check_docs.py

format: dev ## put the code into its style
	$(python) -m ruff check --fix
	$(python) -m ruff format

docs: dev ## write the generated pages in docs/ anew
	$(python) scripts/write_openapi.py
	$(python) scripts/check_docs.py

lock: dev ## write the lock files anew (ARGS=--upgrade for newer versions)
	scripts/lock $(ARGS)

dist: dev ## write what a release publishes into dist/: wheel, sdist, SBOM
	scripts/dist

image: ## build the image `marquee` with Docker (ARGS=… goes to docker build)
	DOCKER_BUILDKIT=1 docker build --tag marquee $(ARGS) \
		--build-arg VERSION="$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' src/marquee/__init__.py)" \
		--build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null || echo unknown)" .

clean: ## remove .venv and every cache; data folders stay
	rm -rf .venv .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache .schemathesis build dist htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

runtime distributed dev:
	@scripts/setup $@
