"""`--on-done COMMAND`: a program of the user's, started for each job that is done. No shell, no key, never fatal."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from runner.engine import Snapshot
from runner.errors import UsageError
from runner.progress.figures import counted
from runner.words import harmless, json_text

AT_ONCE: Final = 4
TOLD: Final = 5  # failures, one by one; then only their number
SECRETS: Final = frozenset(
    {"RIVYA_API_KEY", "RIVYA_API_KEY_FILE", "RIVYA_STATE", "RIVYA_NOTIFY", "PGPASSWORD"}
)


def command_words(text: str) -> list[str]:
    """Return the words of a command, as a shell splits them.

    Raises:
        UsageError: They cannot be read, or there is no such program.
    """
    try:
        words = shlex.split(text)
    except ValueError as exc:
        raise UsageError(f"--on-done cannot be read: {exc}", hint="check its quotes") from exc
    if not words:
        raise UsageError("--on-done names no program", hint="for example --on-done './publish.sh --now'")
    if shutil.which(words[0]) is None:
        raise UsageError(
            f"--on-done: there is no program {words[0]}",
            hint="no shell is used: name a program, or sh -c '…'",
        )
    return words


class OnDone:
    """Starts the command for each job that is done, a few at once; the run goes on meanwhile.

    Args:
        words: The command.
        announce: Takes plain lines for people; called in threads.
    """

    def __init__(self, words: Sequence[str], announce: Callable[[str], None]) -> None:
        self._words = list(words)
        self._announce = announce
        self._name = ""
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="on-done")
        self._counting = threading.Lock()
        self._failed = 0
        self._begun = 0

    def begin(self, name: str, run: int | None = None) -> None:
        """The run of a manifest begins."""
        self._name = name

    def event(self, kind: str, **data: Any) -> None:
        """Take what happened; of a job that is done, start the command."""
        if kind == "done":
            self._begun += 1
            self._pool.submit(self._run, str(data.get("job")), data)

    def snapshot(self, view: Snapshot) -> None:
        """How it goes is no matter here."""

    def close(self) -> None:
        """Wait for all that were started; a second Ctrl-C ends that."""
        self._pool.shutdown(wait=True)
        if self._failed > TOLD:
            self._announce(f"warning: --on-done failed for {counted(self._failed, 'job')} of {self._begun:,}")

    def _run(self, job: str, data: Mapping[str, Any]) -> None:
        why = run_for(self._words, self._name, job, data)
        if not why:
            return
        with self._counting:
            self._failed += 1
            tell = self._failed <= TOLD
        if tell:
            self._announce(f"warning: --on-done for {harmless(job)}: {why}; the job is done all the same")


def run_for(words: Sequence[str], manifest: str, job: str, data: Mapping[str, Any]) -> str:
    """Run the command for one job; return why it failed, empty where it did not."""
    files = [str(file) for file in data.get("files", ())]
    told = {
        "v": 1,
        "manifest": manifest,
        "job": job,
        "files": files,
        "warnings": list(data.get("warnings", ())),
    }
    environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
    environment |= {
        "RIVYA_BATCH_MANIFEST": manifest,
        "RIVYA_BATCH_JOB": job,
        "RIVYA_BATCH_FILE": files[0] if files else "",
        "RIVYA_BATCH_FILES": "\n".join(files),
    }
    try:
        done = subprocess.run(
            list(words),
            input=json_text(told).encode("utf-8", "surrogateescape"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            check=False,
            start_new_session=True,  # Ctrl-C is for the run, which waits for it
        )
    except (OSError, ValueError) as exc:
        return f"it cannot be started: {getattr(exc, 'strerror', None) or exc}"
    if done.returncode == 0:
        return ""
    said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
    how = f"exit {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
    return f"{how}: {harmless(said, limit=160)}" if said else how
