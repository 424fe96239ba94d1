"""A figure that the task names goes along as a picture, once; on every wire the prompt cache keeps it."""

from __future__ import annotations

import base64
import io
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from agentnb.agent.conversation.turn_blocks import suited
from agentnb.models import catalog
from agentnb.models.catalog import lookup, rows
from agentnb.models.layers import Block, Layer, Prompt
from agentnb.models.messages import Image, Role, Text, content_from_json, content_to_json
from agentnb.models.tokens import image_tokens
from agentnb.providers import openai_chat, openai_responses
from agentnb.simulator.images import counted
from agentnb.view.render import run_html, run_text

MODELS = ("sim:claude-sonnet-4-6", "sim:gemini-2.5-flash", "sim:gpt-4.1", "sim:gpt-6.1-sol")
SECRET = "sk-ant-" + "api03-abcdEFGH1234567890_-xyz"


@pytest.fixture
def figure() -> Any:
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    made = Figure()
    axes = made.subplots()
    axes.plot([1, 3, 2], label="high")
    axes.set_title(f"Tide {SECRET}")
    return made


def pictures_in(body: dict[str, Any]) -> int:
    text = json.dumps(body)
    return sum(
        text.count(mark) for mark in ('"type": "image"', '"inlineData"', '"type": "input_image"', '"image_url": {')
    )


@pytest.mark.parametrize("model", MODELS)
def test_a_named_figure_is_sent_once_and_read_from_the_prompt_cache(book: Any, figure: Any, model: str) -> None:
    book.session.namespace.update(fig=figure, ax=figure.axes[0], filler="x" * 50)
    book.ask("Hello?", model=model)
    first = book.ask("What does `fig` show, and `ax`?", model=model)
    second = book.ask("And `fig` now?", model=model)
    figure.axes[0].plot([3, 2, 1])
    third = book.ask("And `fig` with the second line?", model=model)
    assert not book.errors
    assert [pictures_in(body) for body in book.bodies] == [0, 1, 1, 2]
    assert [item["new"] for run in (first, second, third) for item in run.receipt["images"]] == [True, False, True]
    for run in (second, third):
        assert run.cache.read == pytest.approx(run.cache.expected, abs=129), run.cache.reason
    assert second.cache.read > first.receipt["images"][0]["tokens"]


def test_the_receipt_and_the_view_say_what_was_sent(book: Any, figure: Any) -> None:
    book.session.namespace["fig"] = figure
    run = book.ask("What does `fig` show?")
    (item,) = run.receipt["images"]
    assert (item["name"], item["width"], item["height"], item["media_type"]) == ("fig", 640, 480, "image/png")
    assert item["tokens"] == 410
    assert item["seconds"] > 0
    assert "What a picture shows cannot be redacted." in " ".join(run.receipt["notes"])
    assert SECRET not in json.dumps(run.receipt), "the description is redacted like any text"
    page = run_html(run.receipt)
    assert f'<img src="data:image/png;base64,{item["data"]}" alt="fig: matplotlib figure' in page
    assert "≈ 410 tokens" in page
    assert "fig · 640 x 480 pixels" in run_text(run.receipt, full=True)
    json.dumps(run.receipt)
    bad = dict(item) | {"data": '"><script>', "media_type": "image/png"}
    assert "<script>" not in run_html(dict(run.receipt) | {"images": [bad]})


def test_no_picture_without_context_or_where_the_model_takes_none(
    book: Any, figure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.session.namespace["fig"] = figure
    for mode in ("none", "marks"):
        book.ask("What does fig show?", context=mode, thread=mode)
    blind = [row if row.name != "gpt-4.1" else type(row)(**{**vars(row), "images": None}) for row in rows()]
    monkeypatch.setattr(catalog, "rows", lambda: tuple(blind))
    run = book.ask("What does `fig` show?", model="sim:gpt-4.1")
    assert not book.errors
    assert [pictures_in(body) for body in book.bodies] == [0, 0, 0]
    assert "matplotlib figure, 1 axes" in json.dumps(book.bodies[-1])
    assert run.receipt["images"] == []


def test_a_thread_with_a_picture_goes_on_with_a_model_that_takes_none(
    book: Any, figure: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.session.namespace["fig"] = figure
    book.ask("What does `fig` show?")
    blind = [row if row.name != "gpt-4.1" else type(row)(**{**vars(row), "images": None}) for row in rows()]
    monkeypatch.setattr(catalog, "rows", lambda: tuple(blind))
    book.ask("And in words?", model="sim:gpt-4.1")
    book.ask("Back again?", model="sim:claude-sonnet-4-6")
    assert not book.errors
    assert [pictures_in(body) for body in book.bodies] == [1, 0, 1]


def test_the_first_picture_makes_anthropics_messages_be_written_anew_and_that_is_foreseen(
    book: Any, figure: Any
) -> None:
    book.cell("def tide(x):\n    '''" + "High water comes twice a day. " * 100 + "'''\n    return x * 2", "tide")
    book.session.namespace["fig"] = figure
    book.ask("Explain `tide`.")
    run = book.ask("What does `fig` show?")
    assert run.cache.read == pytest.approx(run.cache.expected, abs=129)
    assert run.cache.read < 3000, "tools and system only: the definitions before it are read anew"
    assert book.ask("And so?").cache.read > run.cache.read


def test_a_dry_run_shows_the_picture_and_sends_nothing(book: Any, figure: Any) -> None:
    book.session.namespace["fig"] = figure
    run = book.session.agent().dry_run(book.session.request("What does `fig` show?"), "r-dry")
    assert run.receipt["images"][0]["data"]
    assert book.bodies == []


def test_pil_images_go_along_too(book: Any) -> None:
    pillow = pytest.importorskip("PIL.Image")
    book.session.namespace["photo"] = pillow.new("RGB", (2000, 1000), "blue")
    run = book.ask("What is on `photo`?")
    assert [(item["width"], item["height"]) for item in run.receipt["images"]] == [(768, 384)]
    (sent,) = [b for m in book.bodies[0]["messages"] for b in m["content"] if b["type"] == "image"]
    assert pillow.open(io.BytesIO(base64.b64decode(sent["source"]["data"]))).size == (768, 384)


def test_a_picture_survives_the_journal_and_a_blind_model_gets_its_words() -> None:
    image = Image("image/png", "aGk=", "fig: a line", 4, 3)
    assert content_from_json(json.loads(json.dumps(content_to_json(image)))) == image
    block = Block(layer=Layer.DYNAMIC, role=Role.USER, content=image)
    (words,) = suited([block], lookup("openai:some-server-model"))
    assert content_to_json(words.content) == {"type": "text", "text": "fig: a line"}
    assert suited([block], lookup("claude-sonnet-4-6")) == (block,)


@pytest.mark.parametrize("row", [row for row in rows() if row.provider != "local"], ids=lambda row: row.name)
def test_every_row_says_how_pictures_count_and_the_judge_counts_alike(row: Any) -> None:
    assert row.images is not None
    assert row.images.source
    assert row.images.checked
    for width, height in ((1, 1), (100, 100), (384, 384), (385, 20), (640, 480), (768, 768), (768, 3), (1568, 1568)):
        assert image_tokens(row.images, width, height) == counted(row, width, height)


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-sonnet-4-6", 787),
        ("gpt-4.1", 765),
        ("gpt-6.1-sol", 576),
        ("gemini-2.5-flash", 1032),
        ("gemini-3.8-flash", 1120),
    ],
)
def test_known_counts_of_a_picture_of_768_pixels(model: str, tokens: int) -> None:
    rules = lookup(model).images
    assert rules is not None
    assert image_tokens(rules, 768, 768) == tokens


def test_chat_completions_carry_the_picture_in_the_users_message() -> None:
    image = Image("image/png", "aGk=", "fig: a line", 4, 3)
    texts = [Block(layer=Layer.DYNAMIC, role=Role.USER, content=Text(text)) for text in ("before", "after")]
    picture = Block(layer=Layer.DYNAMIC, role=Role.USER, content=image)
    prompt = Prompt(model="gpt-4.1", blocks=(texts[0], picture, texts[1]), max_tokens=10)
    (message,) = openai_chat.encode(prompt)["messages"]
    assert [part["type"] for part in message["content"]] == ["text", "image_url", "text"]
    assert message["content"][1]["image_url"]["url"] == "data:image/png;base64,aGk="
    (item,) = openai_responses.encode(prompt, (), breakpoints=False)["input"]
    assert [part["type"] for part in item["content"]] == ["input_text", "input_image", "input_text"]


def test_the_journal_holds_a_picture_about_once(book: Any, tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image")
    noise = random.Random(1).randbytes(200 * 200 * 3)  # what cannot be deflated
    book.session.namespace["photo"] = pillow.frombytes("RGB", (200, 200), noise)
    first = book.ask("What is on `photo`?")
    data = first.receipt["images"][0]["data"]
    for _ in range(3):
        book.ask("And `photo` again?")
    book.session.machine().journal._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    stored = sum(file.stat().st_size for file in (tmp_path / "home").rglob("*") if file.is_file())
    assert 0.7 <= stored / len(data) <= 3


@pytest.mark.slow
def test_thirty_pictures_of_a_long_conversation_are_condensed_sent_again_and_recalled(book: Any) -> None:
    """Beyond the ceiling old ones go, priced and told. One that is named again comes again, and recall knows them."""
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure
    from scripted_model import ScriptedModel

    for number in range(30):
        made = Figure(dpi=200)
        made.subplots().plot([1, number, 2])
        made.axes[0].set_title(f"Basin B{number} of the northern harbour")
        book.session.namespace[f"fig{number}"] = made
    script = ScriptedModel(
        lambda n: ("Again.", [("recall", {"words": "Basin B4 northern"})]) if n == 32 else (f"It shows {n}.", []),
        summary=lambda text: "Found: pictures were looked at.",
    )
    with script.installed():
        runs = [book.ask(f"What does `fig{number}` show?", compact_at=12_000) for number in range(30)]
        again = book.ask("And `fig2` once more?", compact_at=12_000)
        last = book.ask("Which basin was the fourth?", compact_at=12_000)
    assert not book.errors
    sizes = [run.cache.prefix for run in runs]
    told = [step.what for run in runs for step in run.steps if step.what.startswith("Condensed ")]
    assert max(sizes) <= 12_000
    assert len(told) >= 1
    assert re.fullmatch(r"Condensed \d+ steps: [\d,]+ tokens became [\d,]+; saves ≈ \$0\.\d+ a call\.", told[0])
    assert 15 < max(pictures_in(body) for body in book.bodies) < 20
    assert [item["new"] for item in again.receipt["images"]] == [True]
    (found,) = [tool.result for step in last.steps for tool in step.tools]
    assert "Basin B4 of the northern harbour" in found
