"""What `credits` shows on a terminal of 80 columns: whole numbers, whole words."""

from __future__ import annotations

import math

import pytest

from runner.cli.credits import _table

ROW = {"day": "2026-11-30", "manifest": "a-manifest-with-quite-a-long-name", "model": "grok-imagine-video", "payments": 12,
       "estimated": 2470.0, "reserved": 10.0, "charged": 2460.0, "released": 0.0}  # fmt: skip


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = _table([ROW], 2460.0, width)

    assert all(len(line) <= width for line in lines)
    assert "2,460" in lines[1]
    assert "charged" in lines[0]


def test_a_pipe_gets_all_of_it() -> None:
    head, line, _ = _table([ROW], 2460.0, math.inf)

    assert head.split()[-4:] == ["estimated", "reserved", "charged", "released"]
    assert str(ROW["manifest"]) in line
