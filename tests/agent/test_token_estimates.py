"""After ten calls the estimate of a request is within 5 % of what the server counts with a tokenizer of its own."""

from __future__ import annotations

import inspect
from typing import Any

import networkx as nx
import pytest

from agentnb.providers import catalog

FUNCTIONS = [
    nx.pagerank, nx.shortest_path, nx.betweenness_centrality, nx.is_connected, nx.bfs_tree, nx.density, nx.diameter,
    nx.average_clustering, nx.minimum_spanning_tree, nx.topological_sort, nx.transitivity, nx.eccentricity,
    nx.center, nx.radius, nx.all_simple_paths, nx.has_path, nx.degree_centrality, nx.greedy_color, nx.triangles,
    nx.find_cliques,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", ["sim:claude-sonnet-4-6", "sim:claude-sonnet-5-5", "sim:gpt-4.1", "sim:gemini-2.5-flash"]
)
def test_the_error_of_the_estimate(book: Any, model: str) -> None:
    errors = []
    for i, function in enumerate(FUNCTIONS):
        source = inspect.unwrap(function).__doc__ or ""
        book.cell(
            f"def f{i}(graph):\n    '''" + source.replace("'''", '"""').replace("\\", "/") + "'''\n    return graph"
        )
        task = f"Explain `f{i}`, please."
        session = book.session
        request = session.request(task, cell=f"ask-{i}", execution=f"e{i}", model=model)
        dry = session.agent().dry_run(request, f"dry-{i}")
        run = book.ask(task, cell_id=f"ask-{i}", model=model)
        estimated = sum(layer.tokens for layer in dry.layers)
        errors.append(abs(estimated - run.cache.prefix) / run.cache.prefix)
    assert errors[0] <= 0.15, "before any reply"
    later = sorted(errors[10:])
    assert later[-1] <= 0.05, [round(error, 3) for error in errors]


def test_what_the_simulator_teaches_says_nothing_of_the_real_model(book: Any) -> None:
    book.ask("Hello there")
    row = catalog.lookup("anthropic:claude-sonnet-4-6")
    assert book.session.samples.counter(row, simulated=True).factor != 1.0
    assert book.session.samples.counter(row, simulated=False).factor == 1.0
    thread, ledger = book.session.thread, book.session.ledger
    assert ledger.newest_like(thread, row.name, simulated=True) is not None
    assert ledger.newest_like(thread, row.name, simulated=False) is None
