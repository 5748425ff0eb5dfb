"""What a broker's error says: whether it is about the message, and how to name it in a log line.

Transports raise whatever their client library raises, kombu's own wrapper around it or not.
"""

from __future__ import annotations

import re
from typing import Final

from deedbox.shared.core.errors import Unavailable, causes

_CODE: Final = re.compile(r"[A-Z]{2,20}\b", re.ASCII)
"""How Redis begins an error: OOM, NOAUTH, READONLY."""

_AWS_CODE: Final = re.compile(r"[A-Za-z.]{2,80}", re.ASCII)
"""How SQS names an error: AccessDenied, AWS.SimpleQueueService.NonExistentQueue."""

_TOO_LARGE: Final = (
    "message size", "maximum allowed size", "invalid bulk length", "content too large", "message must be shorter than",
)  # fmt: skip
"""How RabbitMQ, Redis and SQS say that a message is larger than they are configured to take."""

_TOO_LARGE_CODES: Final = frozenset(
    {"InvalidMessageContents", "BatchRequestTooLong", "RequestEntityTooLarge"}
)
"""The same in SQS's words, and what it says of characters that it does not take."""


class RefusedForCause(Unavailable):
    """The broker refuses this very message; sending it again never helps."""


def refuses_for_cause(error: BaseException) -> bool:
    """Return whether an error is about the message and not about the broker's state."""
    return any(
        _aws_code(link) in _TOO_LARGE_CODES or any(words in str(link).lower() for words in _TOO_LARGE)
        for link in (error, *causes(error, contexts=True))
    )


def _aws_code(error: BaseException) -> str | None:
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return code if isinstance(code, str) and _AWS_CODE.fullmatch(code) else None


def cause(error: BaseException) -> str:
    """Name what is behind an error, for a log line: a type, and the broker's error code if it has one.

    Not the text: it can hold the broker's address and what was being sent.
    """
    chain = [error, *causes(error, contexts=True)]
    # Unlike a context, which is only what was being handled.
    *_, meant = error, *causes(error)
    named = next((link for link in chain if isinstance(link, OSError)), meant)
    code = _aws_code(named)
    if code is None and (found := _CODE.match(str(named))):
        code = found.group()
    return type(named).__name__ + (f" {code}" if code else "")
