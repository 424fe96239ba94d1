"""Carry the event bus over Redis or Valkey: it tells other processes that something happened. [home of redis]

Publishing never waits and never raises: a thread of its own sends what was put down for it. Where no server answers,
that is noted once and the run goes on. Of an event that is in the journal only its `seq` is sent; whoever hears it
reads the journal (`journal/follow.py`). So no message can make a follower show what did not happen. A reply's text is
sent as it streams, since it is kept nowhere. Use `rediss://` where others can read the wire.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlsplit

from agentnb.canonical import dump, load
from agentnb.durable.events import EVENT_VERSION, JOURNALED_KINDS, Event
from agentnb.durable.journal.follow import Follower, Message
from agentnb.durable.journal.protocol import Journal
from agentnb.errors import AgentnbError, BusRefused, BusUnreachable, PackageMissing, SettingsError

SCHEMES = ("redis", "rediss", "valkey", "valkeys")
TIMEOUT = 2.0  # seconds for a server to accept a connection, or a message
SLICE = 0.1  # seconds after which one who hears looks whether to go on
PAUSE = 0.002  # seconds between two sendings: what happens meanwhile goes in one
QUIET = 1.0  # seconds in which nothing is tried after a server has not answered
MOST_WAITING = 1_000
"""Signals that wait to be sent; older ones are dropped. Of events only the last one's `seq` waits: it tells of all."""
MOST_AT_ONCE = 500
"""Messages that are heard before they are shown: in a flood there is always one more."""
LARGEST = 16_384
"""Bytes of a signal that is sent. Streamed text is small, and the journal has any larger picture of the run."""


class RedisBus:
    """Tells and hears what happens to runs, by a server at `redis://…`. Opening it connects to nothing.

    `machine.events.subscribe(bus.publish)` tells; `bus.follow(journal)` hears. `trouble` is why the last message could
    not be sent, None where all is well. Raises InputError on another kind of address, and PackageMissing.

    >>> bus = agentnb.RedisBus(redis)
    >>> machine = agentnb.AgentStateMachine(home / "runs")
    >>> machine.events.subscribe(bus.publish) is None
    False
    >>> bus.check()  # raises nothing, so the server answers
    >>> bus.follow(machine.journal).close()
    >>> bus.note(agentnb.AgentnbError("the server was away"))
    >>> bus.flush(), str(bus.trouble), bus.take_note()
    (True, 'the server was away. [agentnb]', 'Others were not told of all that happened...')
    >>> bus.close()
    """

    def __init__(self, address: str) -> None:
        parts = _parts(address)
        self.place = f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}{parts.path}"
        """The address without user and password, for people."""
        self.channel = f"agentnb/events/{parts.path.strip('/') or 0}"
        """Redis tells all its databases' messages to all: the number in the address keeps ours apart."""
        self._address = address.replace("valkey", "redis", 1) if address.startswith("valkey") else address
        self.trouble: AgentnbError | None = None
        self._noted: AgentnbError | None = None
        _check_options(self._address, parts, self.place)
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._waiting: deque[bytes] = deque(maxlen=MOST_WAITING)
        self._seq = self._sent = 0
        self._wake, self._idle, self._closed = threading.Event(), threading.Event(), False
        self._idle.set()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    # Telling

    def publish(self, event: Event) -> None:
        """Put the event down to be sent. Never waits, never raises."""
        if os.getpid() != self._pid:
            self._begin()  # threads do not survive a fork
        if self._closed:
            return
        if event.kind in JOURNALED_KINDS:
            self._seq = max(self._seq, event.seq)
        elif (message := encode(event)) is not None:
            self._waiting.append(message)
        self._idle.clear()
        self._wake.set()
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="agentnb bus", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        client, quiet_until = _client(self._address), 0.0
        while not self._closed:
            self._wake.wait()
            self._wake.clear()
            batch = self._batch()
            if batch and time.monotonic() >= quiet_until and not self._send(client, batch):
                quiet_until = time.monotonic() + QUIET
            if not (self._waiting or self._seq > self._sent):
                self._idle.set()
            time.sleep(PAUSE)
        client.close()

    def _batch(self) -> list[bytes]:
        """Return what waits, the number of the last event at the end."""
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if self._seq > self._sent:
            self._sent = self._seq
            batch.append(_told(self._sent))
        return batch

    def _send(self, client: Any, batch: Sequence[bytes]) -> bool:
        try:
            with _translated(self.place), client.pipeline(transaction=False) as pipeline:
                for message in batch:
                    pipeline.publish(self.channel, message)
                pipeline.execute()
        except AgentnbError as error:
            self.note(error)
            return False
        self.trouble = None
        return True

    def note(self, error: AgentnbError) -> None:
        """Keep why a message could not be sent or heard; say it once, until all is well again."""
        if self.trouble is None:
            logging.getLogger(__name__).warning("%s", error)
            self._noted = error
        self.trouble = error

    def take_note(self) -> str:
        """Return what to say once of messages not sent since the last time; empty where there is nothing."""
        noted, self._noted = self._noted, None
        return f"Others were not told of all that happened, the journal holds it: {noted}" if noted else ""

    def flush(self, seconds: float = TIMEOUT) -> bool:
        """Wait until what was put down has been sent or given up; False where that takes longer."""
        return self._idle.wait(seconds)

    def close(self) -> None:
        """Send what waits, for a moment, and end."""
        if self._thread is not None:
            self.flush()
        self._closed = True
        self._wake.set()

    # Hearing

    def follow(self, journal: Journal, *, after: int | None = None) -> Follower:
        """Return what happens to the journal's runs in any process that tells it here: each event once and in order."""
        return Follower(journal, RedisEars(self), after=after)

    def check(self) -> None:
        """Raises BusUnreachable or BusRefused where nothing could be told or heard now."""
        with _translated(self.place), _client(self._address) as client:
            client.publish(self.channel, _told(0))
            with client.pubsub() as ears:
                ears.subscribe(self.channel)
                ears.get_message(timeout=TIMEOUT)


class RedisEars:
    """Hears what is told on a bus. While no server answers it hears nothing, and tries again."""

    def __init__(self, bus: RedisBus) -> None:
        self._bus = bus
        self._ears: Any = None
        self._closed = threading.Event()

    def hear(self, seconds: float) -> Sequence[Message]:
        try:
            with _translated(self._bus.place):
                return self._hear(seconds) if self._ears is not None else self._begin()
        except AgentnbError as error:
            self._bus.note(error)
            self._hang_up()
            self._closed.wait(seconds)
            return ()
        finally:
            if self._closed.is_set():
                self._hang_up()

    def _begin(self) -> Sequence[Message]:
        """Hear nothing at first, so that the journal is read: whatever came before this was not told here."""
        self._ears = _client(self._bus._address).pubsub()
        self._ears.subscribe(self._bus.channel)
        self._ears.get_message(timeout=TIMEOUT)
        self._bus.trouble = None
        return ()

    def _hear(self, seconds: float) -> Sequence[Message]:
        """Return what has come by when the first message has."""
        until, messages = time.monotonic() + seconds, list[Message]()
        for _ in range(MOST_AT_ONCE):
            left = 0.0 if messages else max(0.0, until - time.monotonic())
            heard = self._ears.get_message(timeout=min(SLICE, left))
            if self._closed.is_set() or (heard is None and left <= SLICE):
                break
            if heard is not None and heard["type"] == "message":
                found = decode(heard["data"])
                messages += [] if found is None else [found]
        return messages

    def _hang_up(self) -> None:
        ears, self._ears = self._ears, None
        if ears is not None:
            ears.close()

    def close(self) -> None:
        self._closed.set()


def encode(event: Event) -> bytes | None:
    """Return the message that tells of an event: its `seq`, or a signal whole. None for one that is too large."""
    if event.kind in JOURNALED_KINDS:
        return _told(event.seq)
    message = dump({"v": EVENT_VERSION, "signal": event.as_dict()})
    return message if len(message) <= LARGEST else None


def _told(seq: int) -> bytes:
    return dump({"v": EVENT_VERSION, "seq": seq})


def decode(data: bytes) -> Message | None:
    """Return what a message tells; None where it is none of ours. A signal cannot pass itself off as an event."""
    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
        found = load(data)
        if found["v"] != EVENT_VERSION:
            return None
        if "seq" in found:
            return found["seq"] if type(found["seq"]) is int else None
        event = Event(**found["signal"])
        return event if event.kind not in JOURNALED_KINDS and event.seq == 0 and _is_signal(event) else None
    return None


def _is_signal(event: Event) -> bool:
    texts = (event.run_id, event.kind, event.state, event.next_state)
    return all(isinstance(text, str) for text in texts) and type(event.step) is int and isinstance(event.data, dict)


# The package and the server


def _parts(address: str) -> SplitResult:
    scheme = address.partition("://")[0] if "://" in address else ""
    todo = "Set AGENTNB_BUS to redis://HOST:6379/0, or rediss://… with TLS."
    if scheme not in SCHEMES:
        what = f"no event bus is served by {scheme}://" if scheme else "the event bus has no address of a server"
        raise SettingsError(what, todo=todo)
    try:
        parts = urlsplit(address)
        known = bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:
        known = False
    if not known:
        raise SettingsError("the event bus's address names no host, or its port is no number up to 65535", todo=todo)
    return parts


def _package() -> Any:
    """Return the client's package. Raises PackageMissing."""
    try:
        import redis
    except ImportError as error:
        raise PackageMissing(
            "the package for an event bus over Redis is not installed",
            todo="Run: pip install 'agentnb-jupyter[redis]'. Or leave AgentNB.bus (AGENTNB_BUS) empty.",
        ) from error
    return redis


OPTIONS = frozenset(
    ["db", "username", "password", "protocol", "client_name", "health_check_interval", "max_connections"]
)
"""Options of an address, besides those of sockets and of TLS. For others the client wants objects, and takes texts."""


def _check_options(address: str, parts: SplitResult, place: str) -> None:
    """Raise SettingsError where the address has options that the client does not know. Nothing is connected."""
    redis = _package()
    given = (name for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    try:
        if not all(name in OPTIONS or name.startswith(("socket_timeout", "socket_connect", "ssl_")) for name in given):
            raise ValueError
        _client(address).connection_pool.make_connection()
    except (ValueError, TypeError, LookupError, AttributeError, redis.RedisError) as error:
        raise SettingsError(
            f"the event bus's address has an option that Redis's client does not take ({type(error).__name__})",
            about=place,
            todo="Set AGENTNB_BUS to redis://HOST:6379/0, or rediss://… with TLS.",
        ) from None


def _client(address: str) -> Any:
    """Return a client that tries once: whoever waits for it decides when to try again."""
    redis = _package()
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return redis.Redis.from_url(
        address, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)
    )


@contextlib.contextmanager
def _translated(place: str) -> Iterator[None]:
    """Raises BusRefused or BusUnreachable for what the client raises, without its text, which may hold the password."""
    redis = _package()
    try:
        yield
    except (redis.AuthenticationError, redis.ResponseError) as error:  # a lacking permission is one of the second
        raise BusRefused(
            "the Redis server does not let us in"
            if isinstance(error, redis.AuthenticationError) or "NOAUTH" in str(error) or "WRONGPASS" in str(error)
            else "the Redis server refuses our messages",
            about=place,
            todo="Look at the user and the password in AGENTNB_BUS, and that the user may use channels agentnb/*.",
        ) from None
    except (redis.RedisError, OSError, ValueError) as error:
        raise BusUnreachable(
            f"no Redis server answers ({type(error).__name__})",
            about=place,
            todo="Start one there, or set AGENTNB_BUS to where one is. Runs go on without it.",
        ) from None
