"""`rivya-batch worker`."""

from __future__ import annotations

import signal

import click

from runner.cli.output import complain, named_state, state_option


@click.command("worker")
@state_option
def command(state: str | None) -> int:
    """Wait at a shared state database for manifests that are handed over, and take part in each.

    `rivya-batch run MANIFEST --detach` hands one over. It is read from the same path on each machine, and results go to the
    same folder: what is not the same is told, and not worked at. SIGTERM and Ctrl-C end it in good order; what it has under
    way is left to the others.
    """
    import anyio

    from runner.api.worker import WaitsForWork

    worker = WaitsForWork(state=named_state(state, sandbox=False), say=complain)
    place = worker.check()

    async def work() -> None:
        async with anyio.create_task_group() as group:

            async def heed() -> None:
                with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                    async for _ in signals:
                        complain("ending: finishing open requests")
                        worker.end()

            group.start_soon(heed)
            await worker.work(place)
            group.cancel_scope.cancel()

    anyio.run(work)
    return 0
