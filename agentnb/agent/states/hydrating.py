"""HYDRATING: where a turn hangs, which segment it goes on with, and the blocks that it adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agentnb import canonical
from agentnb.agent.attachments import Pictures, pictures_of
from agentnb.agent.conversation.threads import (
    EARLIER,
    Threads,
    base_of,
    folded,
    left_out,
    path_blocks,
    path_of,
    segment_blocks,
)
from agentnb.agent.conversation.turn_blocks import THINKING, closed, scrubbed
from agentnb.agent.deps import Context, Request, Services
from agentnb.agent.kernel_context import with_changed
from agentnb.agent.segments.segments import Begun, Segments
from agentnb.agent.tools.tool import pick
from agentnb.context.selection import Chosen, Selection
from agentnb.errors import InputError
from agentnb.models import catalog
from agentnb.models.layers import Block
from agentnb.models.messages import Text
from agentnb.models.tokens import TokenCounter
from agentnb.prompt.blocks import TurnParts, receipt_entry, semi_static_block, static_blocks, turn_blocks
from agentnb.prompt.thread import Turn, held_definitions, is_branch, parent_for, path_to, removed_definitions


class Hydrating:
    """Opens a turn and fills it. Nothing here asks a model."""

    def __init__(self, services: Services, threads: Threads) -> None:
        self._services = services
        self._threads = threads
        self._segments = Segments(services, threads)
        self._machine = services.machine

    def opening(self, request: Request, run_id: str) -> tuple[Context, dict[str, str]]:
        """The context and the tags of step 0."""
        pick(request.allow, self._services.tools)  # a misspelt --allow must not look like a refusal later on
        kind, source = self._kind(request), self._source(request)
        turns = self._threads.turns(request.thread)
        parent = _parent(turns, request, source)
        path = path_to(turns, parent)
        if source is not None and source["kind"] == kind:
            begun = self._segments.take_up(source, path, request=request)
        else:
            begun = self._segments.choose(turns, path, kind=kind, request=request)
        branch = source is not None or is_branch(turns, cell=request.cell, execution=request.execution)
        place = {"parent": parent.run_id if parent else None, "turn": len(path) + 1, "branch": branch, "kind": kind}
        context = self._asked(request) | place | _segment_of(begun, source, run_id)
        context |= {"blocks": [], "notes": [begun.why] if begun.why else [], "text": ""}
        return context, _tags(context, request)

    def _asked(self, request: Request) -> Context:
        """What was asked for, of whom, and within which limits."""
        model = catalog.lookup(request.model)
        return {
            "format": 1,
            "task": self._services.scrub(request.task),
            "thread": request.thread,
            "notebook": bool(request.execution),
            "replay": request.replay,
            "marks": request.marks,
            "cache_retention": request.cache_retention,
            "stream": request.stream,
            "replay_speed": request.replay_speed,
            "retry_wait": request.retry_wait,
            "model": request.model,
            "label": model.label,
            "simulated": catalog.is_simulated(request.model),
            "token_factor": self._services.samples.counter_for(request.model).factor,
            "tools": sorted(set(request.tools)),
            "allow": sorted(request.allow),
            "approval": request.approval,
            "budget": {"limit": request.budget, "spent": 0.0},
            **({"purse": request.purse} if request.purse else {}),
            "max_steps": request.max_steps,
            "max_tokens": min(request.max_tokens, model.max_output),
            "mode": request.context,
            "context_tokens": request.context_tokens,
        }

    def _source(self, request: Request) -> Context | None:
        """The context that `--from RUN:STEP` goes on from."""
        if request.origin is None:
            return None
        run_id, step = request.origin
        context: Context = self._machine.context_at(run_id, step)
        if "blocks" not in context:
            raise InputError("the run is not one of %%agent's", about=run_id, todo="Choose one from %agent_runs list.")
        return context

    def _kind(self, request: Request) -> str:
        """Model, tools and instructions: what a segment freezes by its own. A change of any begins a new one."""
        specs = [tool.spec for tool in pick(request.tools, self._services.tools).values()]
        return canonical.digest_of([request.model, [block.digest for block in static_blocks(specs)]])

    def hydrate(self, context: Context) -> tuple[str, Context]:
        started = self._services.clock.monotonic()
        run_id = self._machine.current.run_id
        self._machine.current.emit("phase", text="finding the definitions that the task touches")
        self.fill(context, run_id)
        chosen = context["definitions"]
        new = sum(1 for item in chosen if item["new"])
        self._machine.current.attach(
            seconds=round(self._services.clock.monotonic() - started, 6),
            what=f"{len(chosen)} definition{'' if len(chosen) == 1 else 's'} held, {new} new",
        )
        return THINKING, context

    def fill(self, context: Context, run_id: str) -> None:
        """The turn's own blocks, the segment's where this run begins it, and the list of definitions held."""
        services = self._services
        path = path_of(self._threads, context)
        inherited = [Block.from_json(item) for item in context["inherited"]]
        if not inherited:
            self._note_last_request(context, path)
        if context["segment_root"] == run_id and not context.get("segment_base"):
            context["segment_blocks"] = [block.to_json() for block in self._new_segment(context, path, inherited)]
            inherited = folded(inherited)
        before = [*segment_blocks(self._threads, context), *path_blocks(self._threads, context), *inherited]
        pictures = self._pictures(context, before)
        parts = self._parts(context, path, before, pictures)
        blocks = [scrubbed(block, services.scrub) for block in turn_blocks(parts, before)]
        del context["inherited"]
        context["blocks"] = [block.to_json() for block in (*inherited, *blocks)]
        context["definitions"] = _receipt(before, blocks, parts.selection)
        context["left_out"] = [{"name": name, "reason": reason} for name, reason in parts.selection.left_out]
        context["notes"] += [*parts.selection.notes, *pictures.notes]
        context["images"] = pictures.listed
        context["redactions"] = services.scrub.report()

    def _note_last_request(self, context: Context, path: Sequence[Turn]) -> None:
        """Where this segment's last request ended, and which reply the provider may compare the next one with."""
        threads, base = self._threads, base_of(self._threads, context)
        end, message = threads.end_of_last_request(path, context["segment_root"], base=base)
        context["previous_end"] = end
        context["previous_message"] = message or threads.last_reply(path, context["model"])

    def _parts(self, context: Context, path: Sequence[Turn], before: Sequence[Block], pictures: Pictures) -> TurnParts:
        """What the task touches, and what became of what the thread holds."""
        hydrator, count, mode, task = self._services.hydrator, _counter(context).count, context["mode"], context["task"]
        fresh = hydrator.refresh(held_definitions(before), count, gone=removed_definitions(before))
        found = hydrator.select(task, mode=mode, count=count, budget=context["context_tokens"])
        selection = with_changed(found, (*fresh.changed, *self._dropped(context, path)), fresh.notes)
        return TurnParts(
            task=task,
            selection=selection,
            values=hydrator.describe_values(task, mode=mode),
            images=pictures.new,
            failure=_told_once(hydrator.failure(mode=mode, selection=selection), before),
            parts=fresh.parts if mode != "none" else (),
            removed=fresh.removed,
        )

    def _pictures(self, context: Context, before: Sequence[Block]) -> Pictures:
        """The pictures that the task names: sent where the model takes pictures and the thread lacks them."""
        rules = catalog.lookup(context["model"]).images
        if rules is None:
            return Pictures()
        drawn = self._services.hydrator.draw_pictures(context["task"], mode=context["mode"])
        return pictures_of(drawn, before, rules)

    def _dropped(self, context: Context, path: Sequence[Turn]) -> tuple[Chosen, ...]:
        """What the other segment held, as it is now, where this run begins one that keeps a part of it."""
        base = context.get("segment_base")
        if not base:
            return ()
        threads, root = self._threads, base["root"]
        sent = [
            *threads.segment(root),
            *threads.as_sent(path, root=root, kind=context["kind"]),
        ]
        return self._services.hydrator.as_they_are(held_definitions(sent), _counter(context).count)

    def _new_segment(self, context: Context, path: Sequence[Turn], inherited: Sequence[Block]) -> list[Block]:
        """STATIC and SEMI_STATIC of a segment that begins here; what the thread held is folded into it."""
        services = self._services
        count = _counter(context).count
        specs = [services.tools[name].spec for name in context["tools"]]
        held = held_definitions([*self._threads.whole(path), *inherited])
        sent = path[left_out(context, path) :]
        if len(sent) < len(path):
            touched = set().union(*(self._threads.touched(turn) for turn in sent))
            held = {name: item for name, item in held.items() if name in touched}
        project = replace(services.hydrator.snapshot(count, folded=held), left_out=len(path) - len(sent))
        outline = semi_static_block(project)
        blocks = [*static_blocks(specs), *([outline] if outline else [])]
        return [scrubbed(block, services.scrub) for block in blocks]


SAME_ERROR = "<error>The error told last still stands: no cell has run without one since.</error>"


def _told_once(failure: str, before: Sequence[Block]) -> str:
    """An error of which nothing changed since it was told is not told again."""
    texts = (block.content.text for block in before if isinstance(block.content, Text))
    told = [text for text in texts if "<error>\n" in text]
    return SAME_ERROR if failure and told and failure in told[-1] else failure


def _counter(context: Context) -> TokenCounter:
    """The estimator as it was calibrated when the run began: a replay must count as the run did."""
    return TokenCounter(catalog.lookup(context["model"]).tokenizer, context["token_factor"])


def _parent(turns: Sequence[Turn], request: Request, source: Context | None) -> Turn | None:
    """The turn that the new one follows; None for the first."""
    if source is None:
        return parent_for(turns, cell=request.cell, execution=request.execution)
    return next((turn for turn in turns if turn.run_id == source["parent"]), None)


def _segment_of(begun: Begun, source: Context | None, run_id: str) -> Context:
    """The segment that the turn goes on with or begins, and what of `source` it takes along."""
    context: Context = {
        "segment_root": begun.root or run_id,
        "inherited": closed(source["blocks"]) if source else [],
        # A new segment was never sent before: nothing of it is a request's end.
        "previous_end": source["previous_end"] if source and begun.root else 0,
        "previous_message": source["previous_message"] if source and begun.root else None,
    }
    if begun.root is None:
        context["segment_base"] = begun.base
        context["frame_replaced"] = begun.replaced
        context["segment_first"] = begun.first if begun.first != "" else run_id
    return context


def _tags(context: Context, request: Request) -> dict[str, str]:
    """What the journal finds the run by."""
    return {
        **request.tags,
        "thread": context["thread"],
        "cell": request.cell or "",
        "execution": request.execution,
        "parent": context["parent"] or "",
        "kind": context["kind"],
        "root": context["segment_root"],
        "model": context["model"],
        "task": " ".join(context["task"].split())[:80],
    }


def _receipt(path: Sequence[Block], own: Sequence[Block], selection: Selection) -> list[dict[str, Any]]:
    """What the context holds after this turn's blocks: every definition once, in its newest version."""
    new = {str(item["name"]) for block in own for item in block.holds}
    reasons = {chosen.definition.name: chosen.reason for chosen in selection.chosen}
    held = held_definitions([*path, *own])
    listed = [
        dict(item) | {"new": name in new, "reason": reasons.get(name, f"{item['reason']} {EARLIER}")}
        for name, item in held.items()
        if item["form"] in ("full", "signature")
    ]
    outlined = (chosen for chosen in selection.chosen if chosen.definition.name not in held)
    return listed + [
        receipt_entry(chosen) | {"new": False, "reason": f"{chosen.reason}; the project's outline shows its signature"}
        for chosen in outlined
    ]
