"""A stored event is in pieces, of which the scripts write, move and delete each by its name."""

from __future__ import annotations

import re

from deedbox.shared.records.stored_event import FIELDS
from deedbox.shared.redis.scripting import source_of


def test_the_scripts_know_every_piece_of_an_event() -> None:
    declared = re.search(r"local PIECES = \{([^}]*)\}", source_of("release"))
    assert declared is not None
    assert tuple(re.findall(r"'(.)'", declared[1])) == FIELDS
