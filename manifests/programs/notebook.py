"""A manifest run step by step, as in a notebook: what it costs, the run, what became of it, its rows.

    python manifests/programs/notebook.py

Editors that know `# %%` run it cell by cell. In Jupyter, which has an event loop: `await runner.run(...)` for
`runner.run_sync(...)`, and `await asyncio.to_thread(runner.plan, ...)` where references are named by url.
It rehearses; without `sandbox=True` it would pay, and want a `confirm`.
"""

# %% What would it do, and for how much?
import csv
import io
from collections.abc import Mapping
from typing import Any

import runner

MANIFEST = "manifests/01-first-steps.yaml"

plan = runner.plan(MANIFEST, sandbox=True)
print(f"{plan.name}: {plan.submits} to submit, about {plan.to_spend:g} credits")


# %% Run it. Run again, it goes on where it stopped, and pays nothing twice.
def tell(event: Mapping[str, Any]) -> None:
    """Print a line for each job that has come to its end."""
    if event["type"] in ("done", "failed"):
        print(f"  {event['type']}  {event['job']}")


result = runner.run_sync(MANIFEST, runner.Options(sandbox=True, max_credits=500), tell)
print(f"{dict(result.counts)}, {result.charged:g} credits; look through it: {result.report}")

# %% Did any fail? Another round has a price, too, and is begun only where it is given to a run.
rounds = runner.retry(MANIFEST, sandbox=True)
if rounds.jobs and rounds.credits <= 50:
    result = runner.run_sync(MANIFEST, runner.Options(sandbox=True, rounds=rounds), tell)

# %% The rows, for a table of your own.
for row in csv.DictReader(io.StringIO(runner.export(MANIFEST, "csv", sandbox=True))):
    print(f"  {row['job']:24} {row['state']:8} {row['model']}")
