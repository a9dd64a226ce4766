# make tune: set up, run the main job on data that ship with a dependency, end with the leaderboard.
# make test: set up, run every test but the slow ones (timm's rarer families, studies in chaos, Ray), which make test-slow runs.

VENV := .venv
BIN := $(VENV)/bin
# As new as the environment that it stands for.
INSTALLED := $(VENV)/.installed
AIRFLOW := .airflow
AIRFLOW_INSTALLED := $(AIRFLOW)/.installed

.PHONY: install airflow tune test test-slow lint format docs clean

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

tune: install
	$(BIN)/dnntune run search_spaces/digits_mlp.yaml --workers 2

test: install
	$(BIN)/pytest

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
	rm -rf $(VENV) $(AIRFLOW) runs dist .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
