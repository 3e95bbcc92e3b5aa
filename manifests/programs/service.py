"""A service that runs manifests in its own event loop, next to serving requests, and drains them as it is stopped.

    python manifests/programs/service.py [PORT]

    curl -X POST http://127.0.0.1:8765/01-first-steps     # run manifests/01-first-steps.yaml, or go on with it
    curl http://127.0.0.1:8765/                           # how all of them go

It rehearses. Before one that pays, put who may ask it to: anybody who reaches the port can.
"""

import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from anyio.abc import TaskGroup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import runner

FOLDER = Path("manifests")
OPTIONS = runner.Options(sandbox=True)


class Going:
    """A manifest that is run, as far as it has come."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.ended: dict[str, Any] | None = None

    def take(self, event: Mapping[str, Any]) -> None:
        """Count what happens; called in the event loop, so it must not wait."""
        if event["type"] in ("submitted", "done", "failed"):
            self.seen[event["type"]] += 1


class Service:
    """What is run, and the one word that drains it all."""

    def __init__(self) -> None:
        self.going: dict[str, Going] = {}
        self.drain = anyio.Event()
        self.group: TaskGroup

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Hold the runs while requests are served; then let open requests come home, and be recorded."""
        async with anyio.create_task_group() as self.group:
            yield
            self.drain.set()

    async def begin(self, request: Request) -> JSONResponse:
        """Run a manifest, unless it is being run."""
        name = request.path_params["name"]
        path = FOLDER / f"{name}.yaml"
        if not path.is_file():
            return JSONResponse({"error": f"there is no {path}"}, status_code=404)
        if name in self.going and self.going[name].ended is None:
            return JSONResponse({"error": f"{name} is being run"}, status_code=409)
        self.going[name] = Going()
        self.group.start_soon(self.run, path, self.going[name])
        return JSONResponse({"running": name}, status_code=202)

    async def run(self, path: Path, going: Going) -> None:
        """Run a manifest to its end; its trouble is not that of the others."""
        try:
            result = await runner.run(path, OPTIONS, going.take, drain=self.drain)
        except runner.RunnerError as exc:
            going.ended = {"error": exc.message, "hint": exc.hint}
        else:
            going.ended = {"exit_code": int(result.ended.code), "counts": dict(result.counts)}

    async def show(self, _: Request) -> JSONResponse:
        """Tell how all of them go."""
        return JSONResponse(
            {name: {"seen": going.seen, "ended": going.ended} for name, going in self.going.items()}
        )


def make_app() -> Starlette:
    """Return the service; serve it with what you like."""
    service = Service()
    return Starlette(
        routes=[Route("/", service.show), Route("/{name}", service.begin, methods=["POST"])],
        lifespan=service.lifespan,
    )


if __name__ == "__main__":
    uvicorn.run(make_app(), host="127.0.0.1", port=int(sys.argv[1]) if len(sys.argv) > 1 else 8765)
