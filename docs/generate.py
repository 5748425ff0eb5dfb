"""Writes the pages that are made from code: settings, commands, metrics, reasons. ``make docs`` runs it.

With ``--check`` nothing is written; the exit code is 1 if a page is not what the code says.
"""

from __future__ import annotations

import ast
import html
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo

from deedbox.ingress.monitor import prometheus
from deedbox.ingress.receive.ladder import STATUS
from deedbox.ops.metrics.catalogue import FIGURES
from deedbox.ops.web.api.blueprint import OPERATIONS
from deedbox.ops.web.api.openapi import describe
from deedbox.shared.core import reasons
from deedbox.shared.core.reasons import DeathReason, Refusal
from deedbox.shared.secret_files import SUFFIX
from deedbox.shared.settings import SECRETS, Settings

FOLDER: Final = Path(__file__).parent
_MADE: Final = "<!-- Made from code by `make docs`; edit the docstrings there, not this page. -->\n"
_REQUIRED: Final = {"DEEDBOX_API_KEYS": "required"}


def settings_page() -> str:
    """Return the page of all settings, in the order in which the code declares them."""
    rows = [
        f"| `{info.alias}` | {_default(info)} | {_cell(info.description or '')} |"
        for info in Settings.model_fields.values()
    ]
    return "\n".join(
        [
            "# Settings\n",
            _MADE,
            "Settings come from the environment and from `.env` in the current directory; the environment wins. An empty",
            "value counts as unset. `deedbox check` names variables that do not exist and suggests the right one.",
            "`deploy/env.example` is a file to copy.\n",
            "| variable | default | meaning |",
            "|---|---|---|",
            *rows,
            "",
            "## Secrets from files\n",
            "Each secret can come from a file instead: the variable with `_FILE` at its end names the file. Docker, Kubernetes",
            "and systemd provide secrets as files. Line breaks at the end of the file are removed. A variable that is set both",
            "ways, or a file that cannot be read, ends the process with a sentence that says so. Files are read at the start:",
            "restart the processes after you have changed one.\n",
            *(f"- `{name}{SUFFIX}`" for name in SECRETS),
            "",
        ]
    )


def cli_page() -> str:
    """Return the help of every command, as Typer writes it."""
    command = [sys.executable, "-m", "typer", "deedbox.ops.cli", "utils", "docs", "--name", "deedbox"]
    # A wide terminal: the list of commands has its sentences whole.
    environment = {**os.environ, "COLUMNS": "1000", "TERMINAL_WIDTH": "1000"}
    made = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    title, _, rest = re.sub(r"\[/?bold\]", "`", html.unescape(made)).partition("\n\n")
    return f"{title}\n\n{_MADE}\n{rest.rstrip()}\n"


def metrics_page() -> str:
    """Return the page of all metrics."""
    rows = [
        _metric(prometheus.PREFIX + each.name, "ingress", each.kind, each.labels, each.text)
        for each in prometheus.METRICS
    ]
    rows += [_metric(each.name, "ops", each.kind, each.labels, each.text) for each in FIGURES]
    return "\n".join(
        [
            "# Metrics\n",
            _MADE,
            "Ops serves the state of the installation at `/metrics` of `OPS_PORT`, read from Redis at each scrape.",
            "Each ingress host serves its own figures at `/metrics` of `DEEDBOX_METRICS_PORT`, if that is set; it needs",
            "neither Redis nor the broker.\n",
            "Labels are bounded. Sources, lanes, actions and kinds of API calls are named by the settings and by your code;",
            "[reasons](reasons.md) are a closed list. No label ever holds an id, a name or an address.\n",
            "| metric | from | type | labels | meaning |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _metric(name: str, where: str, kind: str, labels: tuple[str, ...], text: str) -> str:
    full = name + ("_total" if kind == "counter" else "")
    named = ", ".join(f"`{label}`" for label in labels)
    return f"| `{full}` | {where} | {kind} | {named + ' ' if named else ''}| {_cell(text)} |"


def reasons_page() -> str:
    """Return the page of all reasons."""
    refused = [f"| {_reason(each)} | {int(STATUS[each])} | {_meaning(each)} |" for each in Refusal]
    died = [f"| {_reason(each)} | {_meaning(each)} |" for each in DeathReason]
    return "\n".join(
        [
            "# Reasons\n",
            _MADE,
            "A reason has one name everywhere: in the answer to the sender, in logs, metrics, dead letters and pages. The",
            "links lead to the runbook, which says what to do.\n",
            "## Refused requests\n",
            "| reason | HTTP | meaning |",
            "|---|---|---|",
            *refused,
            "\n## Dead letters\n",
            "| reason | meaning |",
            "|---|---|",
            *died,
            "",
        ]
    )


def http_api_page() -> str:
    """Return the page of the status API, from its OpenAPI description."""
    described = describe(OPERATIONS)
    parts = [
        "# Status API\n",
        _MADE,
        f"{described['info']['description']} The machine-readable form is",
        "`/api/openapi.json`.\n",
    ]
    for path, methods in described["paths"].items():
        [(method, operation)] = methods.items()
        parts += [
            f"## `{method.upper()} {path}`\n",
            f"{operation['summary']}. {' '.join(operation['description'].split())}\n",
        ]
        if operation["parameters"]:
            parts += ["| parameter | in | meaning |", "|---|---|---|"]
            parts += [f"| `{each['name']}` | {each['in']} | {_cell(each['description'])} |" for each in operation["parameters"]]  # fmt: skip
            parts.append("")
        if "requestBody" in operation:
            parts += ["| field | meaning |", "|---|---|", *_fields(described, operation), ""]
        parts += ["| answer | |", "|---|---|"]
        parts += [
            f"| {status} | {_cell(answer['description'])} |"
            for status, answer in operation["responses"].items()
        ]
        parts.append("")
    return "\n".join(parts)


def _fields(described: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    """Return a row for each field of the JSON body."""
    forms = operation["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    schemas = [described["components"]["schemas"][each["$ref"].rpartition("/")[2]] for each in forms]
    return [
        f"| `{name}`{' (required)' if name in schema.get('required', ()) else ''} | {_cell(field.get('description', ''))} |"
        for schema in schemas
        for name, field in schema["properties"].items()
    ]


def _reason(reason: Refusal | DeathReason) -> str:
    return f"[`{reason}`](../deploy/runbook.md#{reason})"


def _meaning(reason: Refusal | DeathReason) -> str:
    """Return the docstring of a member, which Python itself does not keep."""
    tree = ast.parse(Path(reasons.__file__).read_text("utf-8"))
    (found,) = (
        each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == type(reason).__name__
    )
    for member, text in itertools.pairwise(found.body):
        if isinstance(member, ast.Assign) and ast.unparse(member.targets[0]) == reason.name:
            return _cell(str(ast.literal_eval(ast.unparse(text))))
    raise KeyError(reason)


def _default(info: FieldInfo) -> str:
    value: Any = info.default
    if info.alias in _REQUIRED:
        return _REQUIRED[str(info.alias)]
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    if isinstance(value, float):
        return f"`{value:g}`"
    return f"`{value}`"


def _cell(text: str) -> str:
    return " ".join(text.replace("``", "`").replace("|", "\\|").split())


PAGES: Final = {
    "settings.md": settings_page,
    "cli.md": cli_page,
    "metrics.md": metrics_page,
    "http-api.md": http_api_page,
    "reasons.md": reasons_page,
}


def main(arguments: list[str]) -> int:
    """Write the pages, or compare them with what is there."""
    texts = {FOLDER / name: page() for name, page in PAGES.items()}
    if arguments == ["--check"]:
        old = [
            path.name for path, text in texts.items() if not path.is_file() or path.read_text("utf-8") != text
        ]
        sys.stdout.write(
            "".join(f"docs/{name} is not what the code says; run `make docs`.\n" for name in old)
        )
        return 1 if old else 0
    for path, text in texts.items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
