"""Input files that are not on this machine, and of which a state database at a server knows what they hold."""

from __future__ import annotations

from runner.model import Reference, Settings
from runner.results.shared_references import SharedReferences
from runner.store import staging
from runner.store.database import StateDatabase
from runner.store.server_address import ServerAddress


class KnownElsewhere:
    """Finds files as another machine had them when the manifest was planned there, with their content at hand.

    Args:
        file: The state database; one that is a file knows of this machine only.
    """

    def __init__(self, file: StateDatabase | None) -> None:
        self._file = file if file is not None and isinstance(file.place, ServerAddress) else None
        self.settings: Settings | None = None  # of the manifest, once its head was read
        self._known: dict[str, Reference] | None = None
        self._shared: SharedReferences | None = None

    def __call__(self, text: str) -> Reference | None:
        """Return the file at a path, as it is written in the manifest; None where nobody knows one.

        Raises:
            DiskTrouble: The place where its content may be cannot be looked at now.
        """
        if self._file is None or self.settings is None:
            return None
        if self._known is None or self._shared is None:
            found = staging.references_listed(self._file.conn, self.settings.name)
            self._known = {reference.path: reference for reference in found}
            self._shared = SharedReferences(self.settings.output_dir)
        known = self._known.get(text)
        return known if known is not None and self._shared.has(known.sha256) else None
