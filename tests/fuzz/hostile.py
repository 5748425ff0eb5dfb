"""Strategies: documents that look like callbacks to the code that reads them, with hostile values in every place."""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import strategies as st

from tests.unit.ingress.wire import BOUNDARY, MULTIPART, callback, multipart

P: Final = "signature_request_"

NASTY_TEXTS: Final = (
    "", "\x00", "\ud800", "\udfff\ud800", "../../etc/passwd", "..", "/", "a/b", "a\\b", "~", "%2F", "|", ":", "*",
    "\n", "\u202e", "\U0001f600" * 3, "x" * 300, "-", "NaN", "null", "r1",
)  # fmt: skip
NASTY_NUMBERS: Final = (
    0, -1, 1, 2**31, 2**53, 2**53 + 1, 2**63, 2**64, 10**16, 10**30, 10**4000, -(10**400), 0.1, -0.0, 1e308, 5e-324,
)  # fmt: skip
FIELDS: Final = (
    "event", "event_type", "event_time", "event_hash", "event_metadata", "related_signature_id", "reported_for_app_id",
    "signature_request", "signature_request_id", "signatures", "signature_id", "status_code", "signed_at",
    "last_viewed_at", "last_reminded_at", "created_at", "is_complete", "test_mode", "title", "client_id",
    "account_guid", "account", "account_id", "template", "template_id", "transmission", "files_url",
    "final_copy_uri", "custom_fields", "metadata",
)  # fmt: skip

texts = st.one_of(st.sampled_from(NASTY_TEXTS), st.text(max_size=12))
numbers = st.one_of(
    st.sampled_from(NASTY_NUMBERS), st.integers(), st.floats(allow_nan=False, allow_infinity=False)
)
leaves = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(FIELDS), texts), inner, max_size=5),
    ),
    max_leaves=12,
)


def mostly(good: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw from ``good`` nine times in ten: what is refused at the door never reaches the code behind it."""
    return st.integers(0, 9).flatmap(lambda number: odd if number == 0 else good)


times = mostly(
    st.one_of(st.integers(0, 2**53).map(str), st.integers(0, 2**53)),
    st.sampled_from(
        ["0", "00", "9" * 16, str(2**53), str(2**53 + 1), "1e9", " 1", "-1", "٣", 1.5, 10**30, True]
    ),
)
types = mostly(
    st.sampled_from(
        [P + name for name in ("sent", "viewed", "signed", "all_signed", "downloadable", "remind", "new")]
        + ["account_confirmed", "fax_sent", "x" * 128]
    ),
    st.one_of(st.sampled_from(["x" * 129, "a b", "a\n"]), texts),
)
ids = st.one_of(texts, values)
rows = st.fixed_dictionaries(
    {},
    optional={
        "signature_id": ids, "status_code": values, "signed_at": st.one_of(numbers, values),
        "last_viewed_at": st.one_of(numbers, values), "last_reminded_at": values,
    },
)  # fmt: skip
signature_requests = st.fixed_dictionaries(
    {},
    optional={
        "signature_request_id": ids, "signatures": st.one_of(st.lists(st.one_of(rows, leaves), max_size=4), values),
        "created_at": st.one_of(numbers, values), "is_complete": values, "test_mode": values, "title": values,
    },
)  # fmt: skip
events = st.fixed_dictionaries(
    {"event_type": types, "event_time": times, "event_hash": st.just("0" * 64)},
    optional={
        "event_metadata": st.one_of(
            values,
            st.fixed_dictionaries({}, optional={"related_signature_id": ids, "reported_for_app_id": ids}),
        )
    },
)
callbacks = st.fixed_dictionaries(
    {"event": events},
    optional={
        "signature_request": st.one_of(signature_requests, values),
        "template": st.one_of(st.fixed_dictionaries({"template_id": ids}), values),
        "account": st.one_of(st.fixed_dictionaries({"account_id": ids}), values),
        "transmission": st.one_of(
            st.fixed_dictionaries({"files_url": ids.map(lambda each: f"https://h/fax/files/{each}")}), values
        ),
        "account_guid": values,
        "extra": values,
    },
)


header_texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF), max_size=60)
content_types = st.one_of(
    st.none(),
    st.sampled_from([
        MULTIPART, "multipart/form-data; boundary=x", "application/json", "application/x-www-form-urlencoded",
        'multipart/form-data; boundary="', "multipart/form-data; boundary=\xff",
    ]),
    header_texts,
    header_texts.map(lambda text: f"multipart/form-data; boundary={text}"),
)  # fmt: skip
_MARK: Final = f"--{BOUNDARY}".encode()
_pieces = st.sampled_from([
    _MARK + b"\r\n", _MARK + b"--\r\n", b"\r\n", b"--x", b'Content-Disposition: form-data; name="json"\r\n\r\n',
    b"Content-Disposition: form-data; name*=utf-8''json\r\n", b"Content-Length: -1\r\n", b" folded\r\n",
    b'\r\nContent-Disposition: form-data; filename="\\""', b"json=%7B%7D&json", b"%", callback(), multipart(callback()),
    b'{"event":', b'{"event_type":"x","event_time":"9","event_hash":"\\ud800"}}',
])  # fmt: skip
bodies = st.one_of(st.binary(max_size=200), st.lists(st.one_of(_pieces, st.binary(max_size=8))).map(b"".join))


@st.composite
def doubled(draw: st.DrawFn) -> bytes:
    """Write a callback in which some keys come twice, with other values the second time."""
    document: dict[str, Any] = draw(callbacks)
    again = draw(st.dictionaries(st.sampled_from(FIELDS), values, min_size=1, max_size=3))
    first, second = json.dumps(again)[1:-1], json.dumps(document)[1:-1]
    return f"{{{first}, {second}}}".encode()


@st.composite
def nested(draw: st.DrawFn) -> bytes:
    """Write a callback with an extra field that is nested, up to where a parser gives up and beyond."""
    document: dict[str, Any] = draw(callbacks)
    depth = draw(st.one_of(st.integers(90, 110), st.sampled_from([1, 500, 990, 1000, 5000, 50_000])))
    opening, closing = draw(st.sampled_from([("[", "]"), ('{"a":', "}")]))
    deep = opening * depth + "1" + closing * depth
    return (json.dumps(document)[:-1] + f', "deep": {deep}}}').encode()
