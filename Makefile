# make tune: set up, run the main job on data that ship with a dependency, end with the leaderboard.
# make quick: the inner loop, under a minute. The language, the trainer, networks, drawings, statistics; no processes.
# make test: set up, run every test but the slow ones (timm's rarer families, studies in chaos, Ray), which make test-slow runs.

VENV := .venv
BIN := $(VENV)/bin
# As new as the environment that it stands for.
INSTALLED := $(VENV)/.installed
AIRFLOW := .airflow
AIRFLOW_INSTALLED := $(AIRFLOW)/.installed

# Tests share nothing; a module's stay together, as they share what took long to make.
SIDE_BY_SIDE := -n 3 --dist loadscope
QUICK := tests/space tests/config tests/records tests/figures tests/training tests/optim tests/models \
	tests/evaluation/test_intervals.py tests/study/test_selected_trial.py \
	--ignore tests/models/backbones --ignore tests/training/test_frozen.py
# make test COVERAGE=1: which branches of pipeline/ the tests take, in the process that runs them.
COVERAGE_OPTIONS := $(if $(COVERAGE),--cov pipeline --cov-branch --cov-report=)

.PHONY: install airflow hooks tune quick test test-slow lint format docs clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(INSTALLED)

# Airflow has an environment of its own; its tasks call dnntune by its path.
airflow: $(AIRFLOW_INSTALLED)

$(AIRFLOW_INSTALLED): dags/requirements.txt dags/constraints.txt
	python3 -m venv $(AIRFLOW)
	$(AIRFLOW)/bin/pip install --quiet --disable-pip-version-check --constraint dags/constraints.txt --requirement dags/requirements.txt
	touch $(AIRFLOW_INSTALLED)

# What lint checks, before each commit.
hooks: install
	$(BIN)/pre-commit install

tune: install
	$(BIN)/dnntune run search_spaces/digits_mlp.yaml --workers 2

quick: install
	$(BIN)/pytest $(SIDE_BY_SIDE) -q $(QUICK)

test: install
	$(BIN)/pytest $(SIDE_BY_SIDE) $(COVERAGE_OPTIONS)

test-slow: install
	$(BIN)/pytest -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install
	$(BIN)/python docs/generate.py

clean:
	rm -rf $(VENV) $(AIRFLOW) runs dist .coverage .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
