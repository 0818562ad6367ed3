# Every target makes .venv on first use and installs what it needs into it.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -q
# On Linux CPUs a fifth of a training step is page faults; large pages take most of them away.
HUGE_PAGES := GLIBC_TUNABLES=glibc.malloc.hugetlb=1

.PHONY: help install quickstart test test-slow test-peers test-interop test-jax2onnx test-jobs test-sweeps lint clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 15

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vlp needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade pip

.venv/installed: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install -q -e .
	@touch $@

.venv/installed-%: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install -q -e '.[$*]'
	@touch $@

install: .venv/installed  ## make .venv and install vlp into it

quickstart: install  ## train on the embedded emoji, evaluate, export, draw a report (8 minutes)
	$(HUGE_PAGES) $(BIN)/vlp train --config=experiments/emoji.py --workdir=runs/emoji

SUITE := tests --ignore=tests/peers --ignore=tests/interop_targets --ignore=tests/data_jobs --ignore=tests/sweep_peers

test: .venv/installed-test  ## the test suite (10 minutes, no network, no accelerator)
	$(PYTEST) -n 2 -m "not slow" $(SUITE)

test-slow: .venv/installed-test  ## whole runs, and trainings over devices and processes (longer)
	$(PYTEST) -n 2 -m slow $(SUITE)

test-peers: .venv/installed-test .venv/installed-peers  ## compare with torch, open_clip and transformers
	$(PYTEST) -n 2 --dist loadfile tests/peers

# TensorFlow weighs as much as all the rest, and changes what other libraries do when they find it.
.venv-interop/installed: pyproject.toml
	$(PYTHON) -m venv .venv-interop
	.venv-interop/bin/python -m pip install -q --upgrade pip
	.venv-interop/bin/python -m pip install -q -e '.[test,onnx,openvino,tf]'
	@touch $@

# Its scripts fetch libraries for GPUs. Without npm the tests that need it are skipped.
.venv-interop/node: .venv-interop/installed
	command -v npm > /dev/null || exit 0; npm install --prefix $@ --no-audit --no-fund --ignore-scripts \
		'@huggingface/transformers@^4'

test-interop: .venv-interop/node  ## compare with onnxruntime, OpenVINO, JAX, TensorFlow, node
	.venv-interop/bin/python -m pytest -q -n 2 --dist loadfile tests/interop_targets

# jax2onnx wants an older orbax than training does, so vlp comes without what it depends on.
.venv-jax2onnx/installed: pyproject.toml
	$(PYTHON) -m venv .venv-jax2onnx
	.venv-jax2onnx/bin/python -m pip install -q --upgrade pip
	.venv-jax2onnx/bin/python -m pip install -q 'jax2onnx>=0.17' 'jax>=0.10.2,<0.11' 'flax>=0.12.8' \
		etils flatbuffers ftfy huggingface_hub jaxtyping ml-dtypes optax pillow pyarrow rich \
		safetensors scipy sentencepiece simplejpeg tokenizers
	@touch $@

test-jax2onnx: .venv-interop/installed .venv-jax2onnx/installed  ## compare ONNX files with another converter's
	VLP_JAX2ONNX_PYTHON=$(CURDIR)/.venv-jax2onnx/bin/python \
		.venv-interop/bin/python -m pytest -q tests/interop_targets/test_jax2onnx.py

# Apache Beam wants an older protobuf and pyarrow than the rest would take.
.venv-jobs/installed: pyproject.toml
	$(PYTHON) -m venv .venv-jobs
	.venv-jobs/bin/python -m pip install -q --upgrade pip
	.venv-jobs/bin/python -m pip install -q -e '.[test,jobs,dask]' scikit-image
	@touch $@

test-jobs: .venv-jobs/installed  ## the jobs of vlp data on Apache Beam
	.venv-jobs/bin/python -m pytest -q tests/data_jobs

# Its accuracy takes the float of an array of one element, which newer numpys refuse.
.venv-sweeps/installed: pyproject.toml
	$(PYTHON) -m venv .venv-sweeps
	.venv-sweeps/bin/python -m pip install -q --upgrade pip
	.venv-sweeps/bin/python -m pip install -q -e '.[test,sweeps]'
	@touch $@

test-sweeps: .venv-sweeps/installed  ## vlp sweep beside clip_benchmark, DataComp's numbers and MTEB
	.venv-sweeps/bin/python -m pytest -q -n 2 --dist loadfile tests/sweep_peers

lint: .venv/installed-test .venv/installed-dev  ## format, lint, types, import law: what pre-commit runs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## remove the environment and the runs
	rm -rf .venv .venv-interop .venv-jax2onnx .venv-jobs .venv-sweeps runs
