"""A key that ends by itself is written together with its end: a process that is killed between the two leaves none without."""

from __future__ import annotations

import ast

from tests.unit.test_names import ROOT, modules


def test_no_key_gets_its_end_in_a_pipeline_that_is_no_transaction() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{function.lineno}"
        for path in modules()
        for function in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(function, ast.FunctionDef)
        and "pipeline(transaction=False)" in (text := ast.unparse(function))
        and ".expire(" in text
    ]
    assert found == []
