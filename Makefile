# make demo    compile an example task, run it over example data, print the alerts
# make test    the same, then all tests
# make bench   the benchmarks, next to Polars and DuckDB (TICKC_BENCH_ROWS=10000000 for 10 M rows)
# make data    the examples' data (examples/data)
# make clean   remove all that these make
#
# Only Python 3.11 or newer is needed. Everything goes into .venv (packages, machine code) and out. Some tests need a server
# of InfluxDB: where there is no `influxd`, Debian's package is unpacked in .venv; where it cannot be had, they are skipped.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check --no-input -q
TICKC := $(RUN) -m tickc
PYTEST_ARGS ?= -q -n 2
INFLUXD := $(or $(shell command -v influxd 2>/dev/null),$(VENV)/influxdb/usr/bin/influxd)
DATA := examples/data/cpu.parquet

export TICKC_CACHE ?= $(CURDIR)/$(VENV)/cache
export PYTHONUNBUFFERED := 1

.PHONY: demo test bench data clean
.NOTPARALLEL:
.DEFAULT_GOAL := demo

demo: $(VENV)/installed $(DATA)
	@mkdir -p out/demo
	@printf '\n$$ tickc compile examples/cpu_alert.tick -o out/demo/cpu_alert.py\n'
	@$(TICKC) compile examples/cpu_alert.tick -o out/demo/cpu_alert.py
	@printf '\n$$ tickc backfill out/demo/cpu_alert.py --input $(DATA) --output out/demo/results\n'
	@$(TICKC) backfill out/demo/cpu_alert.py --input $(DATA) --output out/demo/results --overwrite
	@printf '\nThe alerts:\n'
	@$(RUN) examples/show_alerts.py out/demo/results
	@printf '\nThe module is out/demo/cpu_alert.py, the results are in out/demo/results.\n'

test: $(VENV)/installed-test $(INFLUXD) demo
	$(RUN) -m pytest --benchmark-disable $(PYTEST_ARGS)

bench: $(VENV)/installed-test
	$(TICKC) warm --quiet
	$(RUN) -m pytest bench --benchmark-disable-gc --benchmark-columns=min,median --history -q

data: $(VENV)/installed
	$(RUN) examples/make_data.py

$(VENV)/influxdb/usr/bin/influxd: | $(RUN)
	@rm -rf $(VENV)/influxdb.deb && mkdir -p $(VENV)/influxdb.deb
	@{ [ "$$(id -u)" != 0 ] || apt-get -qq update; } && cd $(VENV)/influxdb.deb && apt-get -qq download influxdb \
		&& dpkg -x influxdb_*.deb ../influxdb || echo 'no influxd: tests that need a server of InfluxDB cannot run' >&2

$(DATA): examples/make_data.py | $(VENV)/installed
	@$(RUN) examples/make_data.py

$(RUN):
	@test -n "$(PYTHON)" || { echo 'tickc needs Python 3.11 or newer: make PYTHON=/path/to/python3' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/installed: pyproject.toml | $(RUN)
	$(PIP) install -e .
	@touch $@

$(VENV)/installed-test: pyproject.toml | $(RUN)
	$(PIP) install -e '.[test]'
	@touch $(VENV)/installed $@

clean:
	rm -rf $(VENV) out build dist examples/data *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
