# The recipes that people and CI call. Tools, environments and builds live in $(FASTDATA_CACHE), outside the checkout.

FASTDATA_CACHE ?= $(HOME)/.cache/fastdata
export FASTDATA_CACHE
export CARGO_TARGET_DIR ?= $(FASTDATA_CACHE)/target
SECONDS ?= 60
PROFILE ?= dev
export PROFILE
export PATH := $(FASTDATA_CACHE)/tools/bin:$(PATH)

BINARY := $(CARGO_TARGET_DIR)/debug/fastdata

.PHONY: help build demo test lint unit deny docs wheel python-test spark-test python-lock check-features bench bench-python bench-s3 soak fuzz services-up services-down clean-demo

help: ## List the recipes
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "%-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build the fastdata binary
	cargo build --locked
	@echo "built $(BINARY)"

demo: build ## Make an example warehouse, look at it, scan it, serve it, pull from it
	scripts/demo.sh $(BINARY) demo-warehouse

test: ## Install what is needed and run every check and test
	scripts/setup.sh
	$(MAKE) lint unit deny docs python-test spark-test

lint: ## Format and clippy, warnings are errors
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

unit: ## Every Rust test, the integration tests included
	scripts/test.sh

deny: ## Licences, sources and duplicate versions of the dependencies
	scripts/deny.sh

docs: ## Build the API documentation, private items included; warnings are errors
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --locked --workspace --no-deps --document-private-items

wheel: ## Build the Python wheel and print its path; PROFILE=dist for one that ships
	@scripts/python-wheel.sh

python-test: build ## Build the wheel, install it into the tests' environment and run the Python tests
	scripts/python-test.sh $(PYTEST)

spark-test: ## Compare with Spark on random histories of tables
	scripts/spark-test.sh $(HISTORIES)

python-lock: ## Renew the pinned versions of the Python environments
	scripts/python-lock.sh

check-features: ## Compile the optional catalogs (Glue, HMS): slow
	scripts/check-features.sh

fuzz: ## Fuzz the decoders of bytes from anywhere, SECONDS for each target
	scripts/fuzz.sh $(SECONDS)

soak: ## Run the long forms of the tests and print their figures; PART="tickets stalled" runs those, RESUME=1 what has not passed at this commit
	scripts/soak.sh $(if $(RESUME),--resume) $(PART)

bench: ## Measure scans of the reference tables against the decode floor
	scripts/bench.sh

bench-python: ## Measure the Python package beside pyiceberg, Polars and Daft
	scripts/bench-python.sh

bench-s3: ## Measure scans from MinIO, through a proxy with a latency and a bandwidth
	scripts/bench-s3.sh

services-up: ## Start MinIO, PostgreSQL, REST catalogs and a failing network on loopback, with a demo table
	scripts/services.sh up

services-down: ## End what services-up started
	scripts/services.sh down

clean-demo: ## Remove the example warehouse
	rm -rf demo-warehouse
