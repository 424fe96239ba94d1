"""Show the buttons under a run that waits, in their own output: Run, Edit first, Deny for each call.

The calls themselves stand in the run's static view right above, which outlives these widgets. Whoever saves the
notebook and opens it after a restart finds there what was asked, and the commands that answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from agentnb.agent.approvals import BUTTON, Answer, Question, questions_of
from agentnb.canonical import JsonMapping, JsonObject
from agentnb.notebook.live.dashboard import VIEW_MIME, close, html_widget, widget_library
from agentnb.view.exact_text import arguments_shown
from agentnb.view.style import SMALL, clean, esc, wrap
from agentnb.view.words import call_words

PART = "answer"
"""Names this output's part of its run: a page that was loaded anew finds it by run and part."""
OnAnswer = Callable[[Any], None]
"""Takes a person's words on calls (a list of Answer), or the words of a plain button."""

ALWAYS = "Always in this conversation"
TAKEN = "The person took the code as a cell of the notebook, to run it there."
_WRAP = {"display": "flex", "flex_flow": "row wrap", "width": "100%", "margin": "0", "overflow": "visible"}
_FRAME = {"width": "100%", "max_width": "812px", "overflow": "visible"}  # as wide as the run's view
_BUTTON = {"width": "auto", "min_width": "6em", "margin": "2px 8px 2px 0"}
_FIELD = {"width": "auto", "flex": "1 1 14em", "max_width": "30em", "margin": "2px 8px 2px 0"}
# Front ends draw the focus of a button faintly or not at all.
_FOCUS = (
    "<style>.agentnb-answer button:focus-visible {outline: 2px solid #3f7fd0 !important; outline-offset: -2px}</style>"
)


class Buttons:
    """Holds the questions of one run that are open, in one output. Call from the main thread only.

    `later` brings a click there: some kernels read a page's messages in a thread of their own.
    """

    def __init__(
        self,
        display: Callable[..., Any],
        on_answer: OnAnswer,
        run_id: str = "",
        later: Callable[[Callable[[], object]], object] | None = None,
    ) -> None:
        self._display = display
        self._later = later or (lambda work: work())
        self._run_id = run_id
        self._answer = on_answer
        self._handle: Any = None
        self._open: list[Any] = []
        self.presses: list[Any] = []
        self._reasons: JsonObject = {}
        self._note: Any = None
        self._box: Any = None
        self._enabled = True
        self._shown: JsonObject = {}
        self.insert: Callable[[str], bool] | None = None
        """Puts code below the cell that asked; None where no page can."""

    def place(self) -> None:
        """Place an empty output, for questions that come when the cell is over: only a cell can make one."""
        self._show({"text/html": "", "text/plain": ""})

    def ask(self, doc: JsonMapping, *, enabled: bool = True) -> None:
        """Show the buttons for what waits; those of before are gone. Not enabled, they wait for `enable`."""
        library, before = widget_library(), self._open
        self._open, self.presses, self._reasons = [], [], {}
        questions = questions_of(doc)
        self._enabled, alone = enabled, len(questions) == 1
        rows = [self._row(library, item, alone=alone) for item in questions]
        if sum(not item.asks for item in questions) > 1:
            rows.append(self._all(library, questions))
        self._note = self._keep(html_widget(library, wrap(_FOCUS)))
        self._fill(library, [*rows, self._note], call_words.answer_line(doc))
        _close_all(before)

    def offer(self, words: Sequence[str], instead: str) -> None:
        """Show plain buttons; each gives its own words."""
        library, before = widget_library(), self._open
        self._open, self.presses, self._reasons, self._enabled = [], [], {}, True
        row = self._keep(library.HBox([self._button(library, each, _giving(each)) for each in words]))
        self._note = self._keep(html_widget(library, wrap(_FOCUS)))
        self._fill(library, [row, self._note], instead)
        _close_all(before)

    def _fill(self, library: Any, rows: list[Any], instead: str) -> None:
        """Put the widgets into the box that stands there already. JupyterLab hides an output for good when its widget
        is closed, though another took its place (WidgetRenderer, tried with 4.6)."""
        if self._box is not None:
            self._box.children = rows
            return
        self._box = library.VBox(rows, layout=_FRAME)
        self._box.add_class("agentnb-answer")
        view = {"version_major": 2, "version_minor": 0, "model_id": self._box.model_id}
        self._show({VIEW_MIME: view, **_said(instead)})

    def enable(self) -> None:
        for button in self.presses:
            button.disabled = False

    def tell(self, trouble: str) -> None:
        """Say why a click did nothing, below the buttons, which stay."""
        self.enable()
        if self._note is not None:
            self._note.value = wrap(f'{_FOCUS}<p style="margin:4px 0;{SMALL}">✗ {esc(trouble)}</p>')

    def close(self, said: str) -> None:
        """Put a sentence in their place; an empty one leaves nothing to see."""
        before, self._open, self.presses, self._note = self._open, [], [], None
        if self._handle is not None:
            self._show(_said(said))
        _close_all([*before, *([self._box] if self._box is not None else [])])
        self._box = None

    def show_again(self) -> None:
        """Tell a page that was loaded anew of the buttons, in case it never got them."""
        if self._box is not None:
            self._show(self._shown)

    def _row(self, library: Any, question: Question, *, alone: bool) -> Any:
        """Return one call: its number and beginning where there are several, then what can be said of it."""
        which = "" if alone else f" {question.number}"
        rows = self._choices(library, question, which) if question.asks else self._verdicts(library, question, which)
        row = self._keep(library.VBox(rows, layout={"width": "100%"}))
        if alone:
            return row
        label = f'<div style="{SMALL};margin:6px 0 0 0">{esc(f"{question.number}. {_begins(question)}")}</div>'
        return self._keep(library.VBox([self._keep(html_widget(library, wrap(label))), row], layout={"width": "100%"}))

    def _verdicts(self, library: Any, question: Question, which: str) -> list[Any]:
        """Run it, change it first, take it as a cell, or not; and always."""
        reason = self._field(library, question, f"Why not{which} (optional, the model is told)")
        code = _code_of(question)
        edit = [self._button(library, f"Edit first{which}", lambda: self._edit(question))] if code else []
        takes = code and self.insert is not None
        insert = [self._button(library, f"Insert as cell{which}", lambda: self._taken(question))] if takes else []
        presses = [
            self._button(library, f"Run{which}", lambda: [_word(question, approved=True)]),
            *edit,
            *insert,
            self._button(library, f"Deny{which}", lambda: [self._denied(question)]),
            reason,
        ]
        always = self._button(library, f"{ALWAYS}{which}", lambda: [_word(question, approved=True, rest=True)])
        always.tooltip = f"Run this, and {clean(question.tool)} without a question until the kernel ends"
        return [self._keep(library.HBox(part, layout=_WRAP)) for part in (presses, [always])]

    def _choices(self, library: Any, question: Question, which: str) -> list[Any]:
        """Return the answers that the model offers, and room for another."""
        field = self._field(library, question, f"Another answer{which}")
        choices = [str(choice) for choice in question.arguments.get("choices") or ()]
        presses = [self._button(library, clean(each), _answering(question, each)) for each in choices]
        own = self._button(library, f"Answer{which}", lambda: [self._answered(question)])
        return [self._keep(library.HBox(part, layout=_WRAP)) for part in (presses, [field, own])]

    def _field(self, library: Any, question: Question, placeholder: str) -> Any:
        field = self._reasons[question.key] = self._keep(
            # It is sent once, when the field is left. Letter by letter, the last ones are held back until the kernel
            # has answered. A press is not held back and overtakes them.
            library.Text(placeholder=placeholder, layout=_FIELD, continuous_update=False)
        )
        return field

    def _edit(self, question: Question) -> None:
        """Put the code into a field in the place of the buttons. What stands there when it is run, runs."""
        library, code = widget_library(), _code_of(question)
        field = self._keep(
            library.Textarea(
                value=code, rows=min(code.count("\n") + 2, 20), layout={"width": "100%"}, continuous_update=False
            )
        )
        field.add_class("agentnb-edit")
        self.presses = []
        presses = [
            self._button(library, "Run as edited", lambda: [_word(question, approved=True, edited=field.value)]),
            self._button(library, "Deny", lambda: [self._denied(question)]),
        ]
        self._box.children = [field, self._keep(library.HBox(presses, layout=_WRAP)), self._note]

    def _taken(self, question: Question) -> list[Answer] | None:
        """Give the code to the person as a cell: it is theirs to run, and the model is told so."""
        if self.insert is None or not self.insert(_code_of(question)):
            self.tell("The page is not there any more: copy the code instead.")
            return None
        return [_word(question, approved=False, reason=TAKEN)]

    def _answered(self, question: Question) -> Answer:
        return _word(question, approved=True, reason=self._reasons[question.key].value)

    def _all(self, library: Any, questions: Sequence[Question]) -> Any:
        """Return every call at once."""
        questions = [item for item in questions if not item.asks]
        yes, no = f"Run all {len(questions)}", f"Deny all {len(questions)}"
        presses = [
            self._button(library, yes, lambda: [_word(item, approved=True) for item in questions]),
            self._button(library, no, lambda: [self._denied(item) for item in questions]),
        ]
        return self._keep(library.HBox(presses, layout=_WRAP | {"margin": "8px 0 0 0"}))

    def _denied(self, question: Question) -> Answer:
        return _word(question, approved=False, reason=self._reasons[question.key].value)

    def _button(self, library: Any, words: str, answers: Callable[[], Any]) -> Any:
        button = self._keep(
            library.Button(description=words, tooltip=words, layout=_BUTTON, disabled=not self._enabled)
        )
        button.on_click(lambda pressed: self._later(lambda: self._pressed(pressed, answers)))
        self.presses.append(button)
        return button

    def _pressed(self, button: Any, answers: Callable[[], Any]) -> None:
        """Take a click. One from when the buttons went, or before they could be read, says nothing.

        The page has disabled the buttons itself: they are told both ways, so that it knows when they count again.
        """
        if button not in self.presses or button.disabled:
            return
        for each in self.presses:
            each.disabled = True
        said = answers()
        if said:
            self._answer(said)
        else:
            self.enable()

    def _keep(self, widget: Any) -> Any:
        self._open.append(widget)
        return widget

    def _show(self, data: JsonObject) -> None:
        self._shown = data
        metadata = {"agentnb": {"run": self._run_id, "part": PART}} if self._run_id else None
        if self._handle is None:
            name = f"{self._run_id}/{PART}" if self._run_id else True
            self._handle = self._display(data, raw=True, display_id=name, metadata=metadata)
        else:
            self._handle.update(data, raw=True, metadata=metadata)


def _giving(words: str) -> Callable[[], str]:
    return lambda: words


def _word(
    question: Question, *, approved: bool, rest: bool = False, reason: str = "", edited: str | None = None
) -> Answer:
    changed = None if edited is None or edited == _code_of(question) else {"code": edited}
    return Answer(question=question, approved=approved, by=BUTTON, rest=rest, reason=reason, edited=changed)


def _answering(question: Question, choice: str) -> Callable[[], list[Answer]]:
    return lambda: [_word(question, approved=True, reason=choice)]


def _code_of(question: Question) -> str:
    """Return the code of a call that is nothing else; an empty text for any other."""
    code = question.arguments.get("code")
    return code if isinstance(code, str) and len(question.arguments) == 1 else ""


def _begins(question: Question) -> str:
    """Return `run_code: df.dropna() …`: enough to find the call above."""
    shown = arguments_shown(question.arguments)
    whole = shown[0].text if shown else ""
    first = whole.strip().partition("\n")[0][:60]
    more = " …" if first != whole or len(shown) > 1 else ""
    return f"{clean(question.tool)}: {first}{more}" if first else clean(question.tool)


def _said(sentence: str) -> dict[str, Any]:
    html = wrap(f'<p style="margin:0;{SMALL}">{esc(sentence)}</p>') if sentence else ""
    return {"text/html": html, "text/plain": sentence}


def _close_all(widgets: Sequence[Any]) -> None:
    for widget in widgets:
        close(widget)
