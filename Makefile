# One command each, for people and for CI alike. Everything is set up in .venv.
PYTHON ?= python3
PIP := .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# The CPU build of PyTorch, which is enough to train the fast tier and spares gigabytes of CUDA.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

.PHONY: setup setup-demo fmt check test demo bench bench-gpu street-experiment plugins release-plugins fuzz clean
.DELETE_ON_ERROR:

.venv/bin/python:
	@.ci/system-packages
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "realmaster: Python 3.11 or newer is needed, '$(PYTHON)' is older; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv .venv

.venv/.demo: pyproject.toml constraints.txt | .venv/bin/python
	@.ci/system-packages street
	@echo "Setting up .venv for the demo …"
	@$(PIP) -e '.[street]'
	@touch $@

.venv/.all: pyproject.toml constraints.txt | .venv/bin/python
	@.ci/system-packages street truth
	@echo "Setting up .venv for development …"
	@.venv/bin/python -c 'import torch' 2>/dev/null || \
		$(PIP) --quiet --retries 1 --extra-index-url $(TORCH_INDEX) torch
	@$(PIP) -e '.[street,truth,diffusion,quantized,train,ray,dev]'
	@touch $@ .venv/.demo

# Where they cannot be installed, the tests of native plugins skip and say so.
.venv/.native: .ci/system-packages | .venv/bin/python
	@.ci/system-packages native wine || \
		echo "realmaster: without these, the tests of native plugins are skipped" >&2
	@touch $@

setup-demo: .venv/.demo
setup: .venv/.all

fmt: setup
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

check: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

test: setup .venv/.native
	.venv/bin/python -m pytest

demo: setup-demo
	.venv/bin/realmaster demo --output out/demo --overwrite

bench: setup
	.venv/bin/python -m benchmarks.bench --output out/bench.json

# The native plugins that this machine can build: Linux, and Windows where mingw-w64 is installed.
plugins:
	@.ci/system-packages native
	cd engine_plugins && cmake --preset linux-gcc && cmake --build --preset linux-gcc -j 2
	@if command -v x86_64-w64-mingw32-g++ >/dev/null; then \
		cd engine_plugins && cmake --preset windows-mingw && \
		cmake --build --preset windows-mingw -j 2; \
	else echo "realmaster: no Windows plugins; for them: .ci/system-packages wine"; fi

release-plugins: plugins .venv/bin/python
	.venv/bin/python -m engine_plugins.release --output dist

# Fuzzes what native plugins read from their peer; needs clang. make fuzz SECONDS=3600
SECONDS ?= 60
fuzz: setup
	.venv/bin/python -m tests.native.fuzz --seconds $(SECONDS)

bench-gpu: setup
	.venv/bin/python -m benchmarks.gpu --output out/bench_gpu.md

# The tiny base and its adapter, trained on the street by our own pipeline and held to the truth:
# hours on two cores; run it again to go on. See docs/street.md.
street-experiment: export GLIBC_TUNABLES = glibc.malloc.hugetlb=1
street-experiment: setup
	.venv/bin/python -m training.street_pairs --seeds 0:800 --num 1 --out data/street_tiny
	.venv/bin/python -m training.street_pans --samples data/street_tiny --out data/street_pans --num 2
	.venv/bin/python -m training.tiny_base --clips data/street_pans --out out/tiny
	.venv/bin/python -m training.street_experiment --base out/tiny --out out/street_experiment

clean:
	rm -rf out build .venv
