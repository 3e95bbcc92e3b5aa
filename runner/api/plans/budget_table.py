"""A plan as a table for a spreadsheet: each job that would be paid for, its options, and what it is thought to cost."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from runner.api.plans.groups import range_of
from runner.model import Estimate
from runner.reports.job_rows import csv_lines
from runner.store import plan_groups as store
from runner.store.connection import Connection

BEFORE, BEHIND = ("job", "model"), ("at_least", "expected", "up_to", "basis", "how")


def budget_table(conn: Connection, prices: Mapping[str, Estimate]) -> Iterator[str]:
    """Yield the lines of the table as csv; `up_to` is empty where nobody knows it.

    Args:
        conn: The database in which a manifest is staged.
        prices: What each shape is expected to cost that a run would submit.
    """
    axes, params = dict[str, None](), dict[str, None]()
    for job in store.to_send(conn):
        axes |= dict.fromkeys(json.loads(job.axes))
        params |= dict.fromkeys(json.loads(job.params))
    header = [*BEFORE, *(f"axis.{name}" for name in axes), *(f"params.{name}" for name in params), *BEHIND]

    def rows() -> Iterator[list[Any]]:
        for job in store.to_send(conn):
            estimate = prices[job.shape]
            price = range_of(estimate)
            chosen, options = json.loads(job.axes), json.loads(job.params)
            yield [
                job.job,
                job.model,
                *(chosen.get(name) for name in axes),
                *(options.get(name) for name in params),
                price.low,
                price.expected,
                price.high,
                estimate.basis.value,
                estimate.words,
            ]

    return csv_lines(header, rows())
