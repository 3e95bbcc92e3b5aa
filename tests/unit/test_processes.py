"""The tests' own hold on a process: a signal that comes too late goes nowhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from tests.processes import Handle


def test_a_process_that_is_gone_is_sent_nothing_nor_is_whoever_has_its_number_since() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True) as child:
        handle = Handle.of(child)
        assert not handle.ended()
        child.communicate("\n")

    assert handle.ended()
    handle.send(signal.SIGKILL)


def test_one_that_was_killed_has_ended_before_anybody_has_waited_for_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True) as child:
        handle = Handle.of(child)
        handle.send(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        assert handle.ended()
        assert child.wait() == -signal.SIGKILL
