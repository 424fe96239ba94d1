"""What a thread sent last is kept by pages: a long conversation writes what came new, and reads as it was sent."""

from __future__ import annotations

from dataclasses import asdict

from hypothesis import given, settings
from hypothesis import strategies as st

from agentnb import canonical
from agentnb.providers.promptcache import Ledger, Sent
from agentnb.providers.promptcache.ledger import PAGE


class Memory(dict[str, bytes]):
    """Storage that counts the bytes written."""

    written = 0

    def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        self[key] = value
        self.written += len(value)

    def delete(self, key: str) -> None:
        self.pop(key, None)

    def keys(self, prefix: str = "") -> list[str]:  # type: ignore[override]
        return sorted(key for key in dict.keys(self) if key.startswith(prefix))


def sent(blocks: list[int], run: str = "r") -> Sent:
    chain = tuple(canonical.digest_of(blocks[: n + 1]) for n in range(len(blocks)))
    digests = tuple(canonical.digest_of(one) for one in blocks)
    labels = tuple(f"block {one}" for one in blocks)
    return Sent(run_id=run, model="m", at=1.0, chain=chain, labels=labels, digests=digests, tokens=tuple(blocks))


def test_a_call_of_a_long_conversation_writes_little_more_than_its_new_blocks() -> None:
    storage, costs = Memory(), []
    for length in range(3, 900, 3):
        before = storage.written
        Ledger(storage).remember_sent("t", sent(list(range(length))))
        costs.append(storage.written - before)
    assert max(costs) < 6_500, "a page, and the rest of one"
    assert sum(costs[-100:]) / 100 < 2_600


@given(st.lists(st.tuples(st.sampled_from("tu"), st.integers(0, 120), st.integers(0, 120)), min_size=1, max_size=8))
@settings(deadline=None, max_examples=60)
def test_it_is_read_as_it_was_sent_whatever_was_cut_and_whoever_sent(calls: list[tuple[str, int, int]]) -> None:
    """Conversations grow, are cut and written anew, in two threads, by ledgers of two kernels in turn."""
    storage, newest = Memory(), dict[str, Sent]()
    kernels = Ledger(storage), Ledger(storage)
    for number, (thread, kept, added) in enumerate(calls):
        old = newest[thread].tokens if thread in newest else ()
        newest[thread] = sent([*old[:kept], *(1000 * number + n for n in range(added))], f"r{number}")
        kernels[number % 2].remember_sent(thread, newest[thread])
        for kernel in kernels:
            assert {name: kernel.last_sent(name) for name in newest} == newest
    whole = sum(len(one.chain) // PAGE for one in newest.values())
    assert len(storage.keys("sent-page/")) == whole, "pages that nobody needs are gone"


def test_a_row_of_an_earlier_version_is_read_and_a_lost_page_is_nothing_sent() -> None:
    storage, before = Memory(), sent(list(range(100)))
    storage.set("sent/t", canonical.dump(asdict(before)))
    assert Ledger(storage).last_sent("t") == before
    Ledger(storage).remember_sent("t", before)
    storage.delete(storage.keys("sent-page/")[1])
    assert Ledger(storage).last_sent("t") is None
    after = sent(list(range(200, 300)))
    Ledger(storage).remember_sent("t", after)
    assert Ledger(storage).last_sent("t") == after
