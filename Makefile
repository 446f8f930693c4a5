# The two commands are `make quickstart` and `make test`; both do all set-up themselves, and cost seconds the second time.
.PHONY: quickstart test build setup lint light sim-cases parity transformers help
.DEFAULT_GOAL := help

CARGO := cargo
export CARGO_BUILD_JOBS ?= $(shell nproc)

help:
	@echo "make quickstart   set up, build, train a Mixture-of-Experts model on Shakespeare, and let it write"
	@echo "make test         set up, build, and run every test"
	@echo "make build        target/release/dsctl and target/release/ds-worker"
	@echo "make light        build and test all that needs no LibTorch"
	@echo "make parity       compare with other implementations; GOLDEN_DIR=DIR for data of your own"
	@echo "make transformers PYTHON=...   compare logits with what transformers loads from our exports"
	@echo "make cuda-check   compile the CUDA kernels for an H100, without one"
	@echo "make lint         formatting and clippy, warnings denied"

setup:
	@./setup

build: setup
	@echo "build: dsctl and ds-worker (minutes the first time)"
	@$(CARGO) build --quiet --release --workspace --bins

quickstart: build
	@echo "quickstart: four workers, pipeline 2 x expert 2, on deploy/jobs/quickstart.yaml"
	@target/release/dsctl launch deploy/jobs/quickstart.yaml --sample ROMEO:

test: build .venv-clients/.complete
	@echo "test: every package"
	@tests/run

# A foreign gRPC client, for one test.
.venv-clients/.complete:
	@echo "test: installing Python's gRPC client into .venv-clients"
	@python3 -m venv .venv-clients
	@.venv-clients/bin/pip install -q --disable-pip-version-check grpcio==1.76.0 grpcio-reflection==1.76.0
	@touch $@

# What a login node or a laptop needs: no LibTorch, no C++.
LIGHT := -p ds-topology -p ds-arch -p ds-checkpoint -p ds-data -p ds-plan -p ds-forecast -p ds-proto -p ds-coordinator
light:
	@$(CARGO) test --release $(LIGHT)

# Flow simulations of a folder, against what other simulators found: make sim-cases SIM_CASES=DIR
sim-cases:
	@SIM_CASES=$(SIM_CASES) $(CARGO) test --release -p ds-topology --test sim_cases

# The product against what other implementations computed: make parity [GOLDEN_DIR=DIR] [PARITY_DEVICE=cuda:0]
parity: setup
	@$(if $(GOLDEN_DIR),GOLDEN_DIR=$(abspath $(GOLDEN_DIR))) $(CARGO) test --quiet --release -p ds-tests --test parity

# What transformers loads from an export, against our logits: make transformers PYTHON=a Python with transformers 5 and torch
transformers: build
	@TRANSFORMERS_PYTHON=$(PYTHON) $(CARGO) test --quiet --release -p ds-tests --test transformers -- --nocapture

# NVRTC needs no card. Registers and spills of every kernel; its tests on the way.
cuda-check: setup .venv-cuda/.complete
	@LD_LIBRARY_PATH="$$(echo $(CURDIR)/.venv-cuda/lib/python*/site-packages/nvidia/cu13/lib):$$LD_LIBRARY_PATH" \
	  $(CARGO) run --quiet --release -p ds-kernels --example cuda_check -- $(ARCH)
	@LD_LIBRARY_PATH="$$(echo $(CURDIR)/.venv-cuda/lib/python*/site-packages/nvidia/cu13/lib):$$LD_LIBRARY_PATH" \
	  $(CARGO) test --quiet --release -p ds-kernels --lib cuda::

.venv-cuda/.complete:
	@echo "cuda-check: installing NVRTC into .venv-cuda (90 MB)"
	@python3 -m venv .venv-cuda
	@.venv-cuda/bin/pip install -q --disable-pip-version-check --no-deps --no-compile nvidia-cuda-nvrtc==13.0.88
	@touch $@

lint: setup
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --release --workspace --all-targets -- -D warnings
