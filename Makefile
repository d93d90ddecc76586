# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Both make their own virtual environment in .venv from constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
export HF_HUB_DISABLE_TELEMETRY := 1
export NO_MKDOCS_2_WARNING := 1

.PHONY: demo demo-real test lint types tests test-variants docs cli-docs docs-output benchmark-real format clean

demo: $(STAMP)
	$(BIN)/python examples/demo.py

# The same on a real chat model, which is made in .models where it is missing.
demo-real: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[gguf]'
	$(BIN)/python examples/demo_real.py

test: lint types tests

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

tests: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile

# What other processors do to rounding, as far as this one can show it: one and two threads, older
# vector instructions in torch, in oneDNN and in MKL, each in three orders. The first failure ends it.
VARIANTS := OMP_NUM_THREADS=1 OMP_NUM_THREADS=2 ATEN_CPU_CAPABILITY=default \
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE
SEEDS := 1 2 3

test-variants: $(STAMP)
	@for variant in $(VARIANTS); do for seed in $(SEEDS); do \
	    echo "$$variant, order $$seed"; \
	    env $$variant $(BIN)/python -m pytest -n 2 --dist loadfile --randomly-seed=$$seed || exit 1; \
	done; done

docs: $(STAMP)
	$(BIN)/mkdocs build --strict --quiet --site-dir site

# docs/cli.md from the help texts, and the drawing of the house from its rules.
cli-docs: $(STAMP)
	$(BIN)/python docs/generate_cli.py
	$(BIN)/python docs/generate_house.py

# Run the blocks of these pages and write what they print into them; read the diff before committing.
docs-output: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tests/docs/blocks.py README.md docs/tutorial.md docs/python.md docs/branches.md docs/remotes.md docs/story.md \
	    docs/coming-from.md docs/choosing.md docs/troubleshooting.md
	$(BIN)/python tests/docs/notebooks.py examples/first_steps.ipynb

# The table and the figures of a real model; rows that are there are not measured again. Takes a day.
benchmark-real: $(STAMP)
	$(BIN)/python benchmarks/real.py

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,lora,benchmarks,serve,s3,ssh,sign]'
	touch $(STAMP)

clean:
	rm -rf .venv .demo .models site .mypy_cache .ruff_cache .pytest_cache .hypothesis
