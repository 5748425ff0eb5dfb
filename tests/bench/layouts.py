"""The tables: which rows and columns each has, and against whom its rows are held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.bench import end_to_end, ingress, latency, memory, subjects, workers


@dataclass(frozen=True, slots=True)
class Column:
    """One number of a table."""

    title: str
    name: str
    """Of the value in the samples."""
    digits: int
    spread: bool = False
    """Show the range over the rounds, too."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A row's median against a peer's: above 1 the row is better."""

    peer: str
    name: str
    higher_is_better: bool
    title: str = ""
    """Short name of the peer; its own if empty."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A table."""

    title: str
    section: str
    rows: tuple[str, ...]
    columns: tuple[Column | Ratio, ...]


def _against(name: str, peers: Sequence[tuple[str, str]], *, higher: bool) -> tuple[Ratio, ...]:
    return tuple(Ratio(peer, name, higher, title) for peer, title in peers)


_RQ: Final = (subjects.FLASK_RQ, "RQ")
_CELERY: Final = (subjects.FLASK_CELERY, "Celery")
_TASKIQ: Final = (subjects.FASTAPI_TASKIQ, "taskiq")
_ACK: Final = (subjects.FLASK_ACK, "ack\nonly")

_INGRESS_COLUMNS: Final[tuple[Column | Ratio, ...]] = (
    Column("callbacks/s", "per_s", 0, spread=True),
    *_against("per_s", (_RQ, _CELERY, _TASKIQ, _ACK), higher=True),
    Column("CPU s/1000", "cpu_s_per_1000", 3, spread=True),
    Column("Redis", "redis_cpu_s_per_1000", 3),
    *_against("total_cpu_s_per_1000", (("Flask + RQ", "RQ,\nCPU"),), higher=False),
    Column("p50 ms", "p50_ms", 1),
    Column("p99 ms", "p99_ms", 1, spread=True),
    Column("generator", "generator_cpu_s_per_1000", 3),
)

LAYOUTS: Final = (
    Layout("Ingress, 16 connections kept alive", ingress.KEPT, tuple(subjects.QUEUES), _INGRESS_COLUMNS),
    Layout(
        "Ingress, a connection per callback, 16 at a time",
        ingress.CLOSED,
        tuple(subjects.QUEUES),
        _INGRESS_COLUMNS,
    ),
    Layout(
        "End to end, first POST to last no-op action, everything on the same cores; CPU in s per 1,000 events",
        end_to_end.SECTION,
        tuple(end_to_end.STACKS),
        (
            Column("events/s", "per_s", 0, spread=True),
            *_against(
                "per_s",
                (
                    (end_to_end.RQ_FORK, "rq\nworker"),
                    (end_to_end.RQ_SIMPLE, "Simple"),
                    (end_to_end.CELERY, "Celery"),
                    (end_to_end.TASKIQ, "taskiq"),
                ),
                higher=True,
            ),
            Column("ingress", "ingress_cpu_s_per_1000", 3),
            Column("workers", "workers_cpu_s_per_1000", 3),
            Column("Redis", "redis_cpu_s_per_1000", 3),
            Column("CPU\nin all", "total_cpu_s_per_1000", 3, spread=True),
            *_against(
                "total_cpu_s_per_1000",
                ((end_to_end.RQ_SIMPLE, "Simple,\nCPU"), (end_to_end.CELERY, "Celery,\nCPU")),
                higher=False,
            ),
        ),
    ),
    Layout(
        "Workers, pre-filled broker, no-op action; Deedbox deduplicates and orders, the peers do not",
        workers.SECTION,
        (
            workers.WHOLE,
            workers.BRIDGE,
            workers.SEQUENCER,
            workers.LANE,
            workers.ONE_PROCESS,
            workers.RQ_FORK,
            workers.RQ,
            workers.CELERY,
            workers.TASKIQ,
        ),
        (
            Column("events/s", "per_s", 0, spread=True),
            *_against(
                "per_s",
                ((workers.RQ_FORK, "rq\nworker"), (workers.RQ, "Simple"), (workers.CELERY, "Celery"), (workers.TASKIQ, "taskiq")),
                higher=True,
            ),
            Column("CPU s/1000", "cpu_s_per_1000", 3, spread=True),
            Column("Redis", "redis_cpu_s_per_1000", 3),
            Column("kept B/event", "kept_bytes", 0),
        ),
    ),
    Layout(
        "Latency from POST to action at 50 callbacks/s (Poisson), a connection per callback",
        latency.SECTION,
        latency.SUBJECTS,
        (
            Column("p50 ms", "p50_ms", 1, spread=True),
            *_against("p50_ms", (_RQ, _CELERY, _TASKIQ), higher=False),
            Column("p95 ms", "p95_ms", 1),
            Column("p99 ms", "p99_ms", 1, spread=True),
            *_against("p99_ms", (("Flask + Celery", "Celery,\np99"),), higher=False),
            Column("answer p50", "answer_p50_ms", 1),
            Column("CPU s/1000", "cpu_s_per_1000", 3),
            Column("Redis", "redis_cpu_s_per_1000", 3),
        ),
    ),
    Layout(
        "Redis bytes per callback that waits",
        memory.SECTION,
        memory.SUBJECTS,
        (
            Column("memory B", "memory_bytes", 0),
            *_against("memory_bytes", (_RQ, _CELERY, _TASKIQ), higher=False),
            Column("append-only\nfile B", "aof_bytes", 0),
            Column("JSON text B", "body_bytes", 0),
        ),
    ),
    Layout(
        "Redis bytes per fact that is remembered after it was handled; Celery and taskiq remember none",
        memory.REMEMBERED,
        tuple(memory.REMEMBERING),
        (
            Column("memory B", "fact_bytes", 0),
            *_against("fact_bytes", ((memory.RQ_RESULTS, "RQ"),), higher=False),
            Column("facts", "facts", 0),
            Column("facts per request", "facts_per_request", 1),
        ),
    ),
)  # fmt: skip
