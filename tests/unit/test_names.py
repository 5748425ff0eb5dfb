"""One word has one meaning: a public class name is defined once in the whole tree."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from deedbox.shared.redis.scripting import NAMES

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("ingress", "workers", "ops", "shared", "deedbox")
MODULES_MAX = 16


def modules() -> list[Path]:
    """Return every module of the wheel once: ``deedbox/`` also shows the other folders, by links that lead out of it."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return [path for path in found if path.resolve() == path]


def test_no_public_class_name_means_two_things() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in modules():
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(path.relative_to(ROOT).as_posix())
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_no_folder_has_more_modules_than_a_reader_takes_in_at_once() -> None:
    counts: dict[str, int] = defaultdict(int)
    for path in modules():
        counts[path.parent.relative_to(ROOT).as_posix()] += path.name != "__init__.py"
    assert {folder: count for folder, count in counts.items() if count > MODULES_MAX} == {}


def test_only_two_modules_know_the_order_of_a_scripts_operands() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".call") and node.args:
                script = node.args[0]
                if isinstance(script, ast.Constant) and script.value in NAMES:
                    places[script.value].append(path.relative_to(ROOT).as_posix())
    homes = {"shared/redis/script_calls.py", "shared/redis/repair_calls.py"}
    assert places.keys() == set(NAMES)
    assert {name: where for name, where in places.items() if not homes.issuperset(where)} == {}
