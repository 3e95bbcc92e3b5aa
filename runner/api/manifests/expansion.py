"""Expanding a manifest: each of its jobs, with what it is expected to cost, staged beside what is known already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from runner.api.manifests import listing
from runner.api.manifests.opened import Opened, refuse_errors
from runner.contract import Contract
from runner.contract.once import OncePerObject
from runner.model import Estimate, Job, JobSpec, ModelId
from runner.money.price_book import PriceBook
from runner.money.pricing import estimate, shape_of
from runner.store import ledger, needs, staging
from runner.store.database import StateDatabase
from runner.store.listings import ListingSource
from runner.store.price_books import PriceBooks


def stage(
    opened: Opened, file: StateDatabase, prices: Prices, *, afresh: bool = False
) -> ListingSource | None:
    """Stage what a manifest lists, and compare it with what is known; return what its jobs were read from.

    A manifest that lists just what it listed when it was last applied is not expanded again, unless `afresh`.

    Raises:
        InvalidManifest: A job that is wanted has a problem; the database is as it was.
    """
    name = opened.settings.name
    basis = listing.basis_of(opened)
    source = None if afresh else listing.listed_from(opened, file, basis)
    if source is not None:
        listed = staging.to_price(file.conn, name)
        staging.restage(file.conn, name, {job.shape: prices.of(job, job.shape) for job in listed})
        return source
    manifest = opened.manifest
    # Before the jobs are made of it: what is picked meanwhile is seen the next time.
    outcome = needs.outcome(file.conn, name) if manifest.needs_results else None
    staging.stage(
        file.conn,
        name,
        expand(opened, prices),
        not_staged=lambda: staging.NotStaged(
            ids=manifest.left_out.ids, others=manifest.left_out.nameless > 0
        ),
    )
    refuse_errors(opened)
    return listing.read_from(opened, basis, outcome)


class Prices:
    """What each shape is expected to cost. All that a price depends on is in the shape.

    Args:
        opened: The manifest, with its `prices:` and contracts.
        file: The database that remembers what was charged before.
        base_url: The service that would charge.
    """

    def __init__(self, opened: Opened, file: StateDatabase, base_url: str) -> None:
        self._opened = opened
        self._file = file
        self._base_url = base_url
        self._known: dict[str, Estimate] = {}
        self._books = PriceBooks()
        self._book_of: dict[ModelId, PriceBook | None] = {}

    def of(self, job: Job | JobSpec, shape: str) -> Estimate:
        """Return what a job of this shape is expected to cost."""
        found = self._known.get(shape)
        if found is None:
            contract = self._opened.contracts[job.model]
            found = self._known[shape] = estimate(
                job,
                contract=contract,
                rules=self._opened.settings.prices,
                seen=ledger.price_seen(self._file.conn, self._base_url, shape, dated=True),
                book=lambda: self._book(contract),
            )
        return found

    def _book(self, contract: Contract) -> PriceBook | None:
        """Return the book of a model; as long as a plan is made it stays as it is."""
        if contract.id not in self._book_of:
            self._book_of[contract.id] = self._books.of(self._file.conn, self._base_url, contract)
        return self._book_of[contract.id]

    @property
    def known(self) -> Mapping[str, Estimate]:
        """What was asked for so far, by shape."""
        return self._known


def expand(opened: Opened, prices: Prices) -> Iterator[staging.StagedJob]:
    """Yield each job of a manifest as it is staged; problems of jobs are in `opened.manifest` at the end."""
    shapes = OncePerObject[str]()
    for spec in opened.manifest.jobs():
        contract = opened.contracts[spec.model]
        shape = shapes.get(
            spec.params,
            partial(shape_of, spec, contract),
            spec.model,
            spec.references and tuple(reference.kind for reference in spec.references),
            len(spec.prompt or "") if contract.metered else 0,
        )
        yield staging.StagedJob(spec=spec, shape=shape, estimate=prices.of(spec, shape))
