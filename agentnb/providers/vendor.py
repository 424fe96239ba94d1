"""Say what a provider is called, and what its refusals and silences mean, each as an error of ours."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from agentnb.errors import (
    AccessRefused,
    CallTimeout,
    ConnectionFailed,
    KeyMissing,
    NoReply,
    Overloaded,
    PackageMissing,
    PromptTooLong,
    ProviderError,
    RateLimited,
    RequestRefused,
    ServerFault,
)
from agentnb.providers.transport import (
    GaveUp,
    SentElsewhere,
    TooMuch,
)

MOST_SAID = 2000  # characters of a provider's message


def words_of(value: object) -> str:
    """Return a provider's own words as far as they are looked at."""
    return str(value)[:MOST_SAID]


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """Tells how a provider is called in messages, and where its key and address are set."""

    name: str
    label: str
    keys: tuple[str, ...]
    address: str
    example: str
    request_id: str = ""  # the reply header with the request's id, where there is one
    files: tuple[str, ...] = ()  # below the home folder: where the SDK looks for credentials of its own

    def surely_without_key(self) -> bool:
        """Tell whether nothing is set that gives the SDK a key. Then it need not be loaded, for seconds, to say so."""
        starts = tuple({f"{name.partition('_')[0]}_" for name in self.keys})
        named = any(name.startswith(starts) and value for name, value in os.environ.items())
        return not (named or any((Path.home() / file).exists() for file in self.files))

    def missing_key(self) -> KeyMissing:
        """Return the one message for a missing key."""
        is_set = " nor ".join(self.keys) + (" is set" if len(self.keys) > 1 else " is not set")
        return KeyMissing(
            f"no API key for {self.label}: {'neither ' if len(self.keys) > 1 else ''}{is_set}",
            todo=f"Set {self.keys[0]}, here by os.environ or before starting the kernel. The simulator needs no key: "
            f"%%agent -m sim:{self.example}",
        )

    def missing_package(self, install: str) -> PackageMissing:
        return PackageMissing(
            f"the package for {self.label} is not installed",
            todo=f"Run: {install}. Or ask the simulator's other models, e.g. %%agent -m sim:claude-sonnet-4-6",
        )

    def silence(self, last: GaveUp) -> ProviderError:
        """Return the error of a call that was never answered."""
        if last.late:
            return CallTimeout(f"{self.label} did not answer in time", todo="Resume the run to ask again.")
        return ConnectionFailed(
            f"{self.label} could not be reached",
            about=str(last)[:200],
            todo=f"Check the network and {self.address}.",
        )

    def moved(self, to: SentElsewhere) -> ProviderError:
        """Return the error of a redirect: no key and no prompt goes where it was not sent."""
        return RequestRefused(
            f"{self.label} answered {to.status}: it is to be asked at another address, {to.address}",
            todo=f"Nothing was sent there. Where that is right, set {self.address} to the new address.",
            status=to.status,
        )

    def endless(self, read: TooMuch) -> ProviderError:
        """Return the error of an answer that is larger than a reply can be."""
        return NoReply(
            f"what answers for {self.label} sent more than a reply can hold",
            about=f"{read} were read",
            todo=f"Check {self.address}. It was asked once: resuming asks again.",
        )

    def refusal(self, status: int, message: str, *, request_id: str | None = None) -> ProviderError:
        """Return the error of an HTTP status; the words are the provider's own."""
        message = words_of(message)
        kind, todo = _STATUS_KINDS.get(status, (ServerFault if status >= 500 else RequestRefused, "Resume the run."))
        if kind is RequestRefused and _TOO_LONG.search(message):
            kind, todo = PromptTooLong, TODO_TOO_LONG
        return kind(
            f"{self.label} answered {status}: {message}"[:600],
            todo=todo.format(key=self.keys[0]),
            status=status,
            request_id=request_id,
        )


ANTHROPIC = Vendor(
    name="anthropic",
    label="Anthropic",
    keys=("ANTHROPIC_API_KEY",),
    address="ANTHROPIC_BASE_URL",
    example="claude-sonnet-4-6",
    request_id="request-id",
    files=(".config/anthropic",),
)
GOOGLE = Vendor(
    name="google",
    label="Google",
    keys=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    address="GOOGLE_GEMINI_BASE_URL",
    example="gemini-3.1-pro-preview",
)
OPENAI = Vendor(
    name="openai",
    label="OpenAI",
    keys=("OPENAI_API_KEY",),
    address="OPENAI_BASE_URL",
    example="gpt-4.1",
    request_id="x-request-id",
)
VENDORS = {vendor.name: vendor for vendor in (ANTHROPIC, GOOGLE, OPENAI)}

_STATUS_KINDS: dict[int, tuple[type[ProviderError], str]] = {
    400: (RequestRefused, "The request itself is wrong; resuming without a change gives the same answer."),
    401: (AccessRefused, "Check {key}."),
    402: (AccessRefused, "Check the account's credit."),
    403: (AccessRefused, "The key may not use this model or feature."),
    404: (RequestRefused, "Check the model's name with -m."),
    413: (RequestRefused, "The request is too large; begin afresh with -t new."),
    429: (RateLimited, "Wait, then resume the run."),
    503: (Overloaded, "The provider is overloaded; resume the run in a minute."),
    529: (Overloaded, "The provider is overloaded; resume the run in a minute."),
}


# In the words of Anthropic, OpenAI (Chat, Responses), Google and llama.cpp's server.
_TOO_LONG = re.compile(
    r"prompt is too long|maximum context length|context window|context size|input token count .*exceeds", re.IGNORECASE
)
TODO_TOO_LONG = (
    "Nothing is lost. Ask for less at once, take a model with a larger window (-m), or begin afresh with -t new."
)
