# make demo   everything set up, and the whole job run on videos that it makes itself
# make test   everything set up, and the tests, in some eight minutes on two cores
# make slow   the tests that take many seconds each, which make test leaves out
# make lint   ruff and mypy
# make bench  everything set up, the peers too, and the quick set of benchmarks

PYTHON ?= python3
VENV := .venv
# Processes that run tests side by side.
TESTERS ?= 2
STAMP := $(VENV)/.installed

# OpenCV's windows, which nobody opens here, are linked against libGL and glib, which a server without a
# desktop lacks. Then its build without windows, in the same version, takes the place of the usual one.
# `pip check` says from then on that ultralytics wants opencv-python: the module is the same, cv2.
define without_windows
	@if $(VENV)/bin/python -c 'import cv2' 2>&1 | grep -q '^ImportError: lib'; then \
	    echo 'libGL or glib is missing: opencv-python-headless takes the place of opencv-python'; \
	    $(VENV)/bin/python -m pip uninstall --quiet --yes opencv-python && \
	    $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	        --force-reinstall `sed -n 's/^opencv-python=/opencv-python-headless=/p' constraints.txt`; \
	fi
endef

.PHONY: demo test slow torture lint bench aimock azurite bullmq lock clean

demo: $(STAMP)
	$(VENV)/bin/penstock demo

# A file's tests stay together. What measures time or cores comes afterwards, by itself: on a machine that
# others use too a measurement may be off, so it counts as failed when it fails three times in a row.
test: $(STAMP)
	$(VENV)/bin/python -m pytest -m 'not torture and not slow and not alone' --durations 20 \
	    --numprocesses $(TESTERS) --dist loadfile --no-loadscope-reorder
	$(VENV)/bin/python -m pytest -m 'alone and not torture' --reruns 2

slow: $(STAMP)
	$(VENV)/bin/python -m pytest -m 'slow and not torture' --durations 20 \
	    --numprocesses $(TESTERS) --dist loadfile --no-loadscope-reorder

# Hundreds of random kills and large crawls: slow, and not part of `make test`.
torture: $(STAMP)
	$(VENV)/bin/python -m pytest -m torture

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	    --constraint constraints.txt --editable '.[test,lint]'
	$(without_windows)
	touch $@

# Quick runs show that all of them work; docs/benchmarks.md says how to run them for figures.
bench: $(STAMP)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	    --constraint constraints.txt --editable '.[test,bench]'
	$(without_windows)
	$(VENV)/bin/python -m benchmarks.quick

# A server of OpenAI's and Gemini's APIs written by others, for tests that skip where it is missing.
aimock: $(STAMP)
	npm install --silent --no-fund --no-audit --prefix $(VENV)/aimock @copilotkit/aimock@1.43

# Azure Blob Storage by those who made it, as a server on this machine; tests skip without it.
azurite: $(STAMP)
	npm install --silent --no-fund --no-audit --prefix $(VENV)/azurite azurite@3.37

# BullMQ as sites in Node.js have it, for tests of jobs, which skip without it.
bullmq: $(STAMP)
	npm install --silent --no-fund --no-audit --prefix $(VENV)/bullmq \
	    bullmq@6.7 ioredis@5 ws@8 json-schema-to-typescript@15

# Writes constraints.txt anew: the newest versions that pyproject.toml allows.
lock:
	rm -rf build/lock
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet --disable-pip-version-check '.[test,bench,lint]'
	build/lock/bin/python -m pip freeze --exclude penstock | sed 's/+cpu$$//' > constraints.txt

clean:
	rm -rf $(VENV) build *.egg-info
