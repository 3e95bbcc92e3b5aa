"""Remembers what jobs have taken: ids, output names, fingerprints. Small, for a million jobs."""

from __future__ import annotations

from runner.manifest.names import file_key


class Registry:
    """What the jobs of one manifest have taken so far."""

    def __init__(self) -> None:
        self._lines: dict[str, int] = {}  # of each id
        self._outputs: dict[str, str] = {}
        self._fingerprints: dict[int, str] = {}

    @property
    def count(self) -> int:
        """How many ids are taken."""
        return len(self._lines)

    def has(self, job: str) -> bool:
        """Return whether a job has this id."""
        return job in self._lines

    def take_id(self, job: str, line: int) -> int | None:
        """Take an id for a job written on this line; return the line it was taken on before, or None."""
        count = len(self._lines)
        before = self._lines.setdefault(job, line)
        return before if len(self._lines) == count else None

    def take_output(self, name: str, job: str) -> str | None:
        """Take an output name; return the id of the job whose file it would be, or None."""
        count = len(self._outputs)
        key = file_key(name)
        before = self._outputs.setdefault(job if key == job else key, job)
        return before if len(self._outputs) == count else None

    def take_fingerprint(self, fingerprint: str, job: str) -> str | None:
        """Take a fingerprint; return the id of the job that has the same, or None."""
        count = len(self._fingerprints)
        # 64 bits: among a million jobs two different ones meet once in thirty million manifests.
        before = self._fingerprints.setdefault(int(fingerprint[-16:], 16), job)
        return before if len(self._fingerprints) == count else None
