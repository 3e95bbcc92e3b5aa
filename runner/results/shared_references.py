"""Input files of jobs, kept by their content where all machines of a manifest see them: beside its results.

One machine may have a file that another has not, or no longer; what was agreed to is sent all the same.

    .references/<sha256>                                   in the folder, or in the bucket, of the results

Everything here blocks; from async code call it in a worker thread.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

from runner.errors import TemporaryTrouble
from runner.model import Reference, ResultPath, Sha256
from runner.results.parts import disk_errors
from runner.results.storage import storage_of

REFERENCES = ".references"


class SharedReferences:
    """The files of one output folder.

    Args:
        root: The folder, or the place in a bucket.
    """

    def __init__(self, root: ResultPath) -> None:
        self._folder = root / REFERENCES
        self._storage = storage_of(root)
        self._names: set[str] | None = None

    def has(self, sha256: Sha256) -> bool:
        """Say whether a content is there, as far as a list that is asked for once tells.

        Raises:
            DiskTrouble: Nobody can know now.
        """
        if self._names is None:
            self._names = set(self._storage.names_in(self._folder))
        return sha256 in self._names

    def keep(self, reference: Reference, content: BinaryIO) -> None:
        """Put a content there that was proven to be the reference's.

        Raises:
            DiskTrouble: It cannot be put there.
        """
        with tempfile.TemporaryDirectory(prefix="rivya-batch-") as folder:
            copy = Path(folder, "copy")
            with disk_errors(Path(folder)), copy.open("wb") as file:
                shutil.copyfileobj(content, file)
            self._storage.put_file(
                copy,
                self._folder / reference.sha256,
                reference.sha256,
                reference.size_bytes,
                mime=reference.mime,
            )
        if self._names is not None:
            self._names.add(reference.sha256)

    def open(self, reference: Reference) -> BinaryIO | None:
        """Return a copy of a content as `unnamed_copy` does; what it holds is for the caller to prove.

        Raises:
            TemporaryTrouble: It cannot be had now.
        """
        return unnamed_copy(self._folder / reference.sha256)


def unnamed_copy(path: ResultPath) -> BinaryIO | None:
    """Return a copy of a file, at its beginning and unnamed; None where there is none.

    Raises:
        TemporaryTrouble: It cannot be had now.
    """
    storage = storage_of(path)
    if storage.size(path) is None:
        return None
    with tempfile.TemporaryDirectory(prefix="rivya-batch-") as folder:
        copy = Path(folder, "copy")
        try:
            storage.copy_out(path, copy)
            return copy.open("rb")  # it has no name any more when the block ends
        except OSError as exc:
            raise TemporaryTrouble(
                f"cannot read {path}: {exc.strerror or exc}", hint="run again to continue"
            ) from exc
