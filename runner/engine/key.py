"""Whether the service still takes our key: one refusal may be a stray answer, so it is asked again."""

from __future__ import annotations

import math
from collections import Counter

from runner.engine.gates import SURE, KeyState
from runner.pace.scheduler import Call
from runner.service.protocol import Answer, Meaning

# A refused question is asked so often in all: at once, then after 1, 2 and 4 s.
ASKS = 4
# A key that answers questions, but is refused for one kind of request each time it is tried, in so many waves: its
# scope is not enough. One wave of a kind that has never passed in this run may be stray, two are not.
WAVES, FIRST_WAVES = 5, 2
AGAIN_S = 1.0

_PASSED = frozenset({Meaning.OK, Meaning.NO_CREDITS, Meaning.CONFLICT})


class KeyCheck:
    """Weighs refusals of our key (401 and 403 in the API's own shape) against what passes.

    A refusal is doubted at once by a question that is no job's (GET /credits). If that passes, or a request
    that was sent after the refused one, the refusal was stray and its job goes again. While the question is
    refused as well, nothing else is sent.
    """

    def __init__(self) -> None:
        self._passed: set[Call] = set()
        self._good_sent_at = -math.inf  # when the latest of those that passed was sent
        self._doubted_at = math.inf  # when what was refused had been sent; infinite: no doubt
        self._asks = 0
        self._ask_at = math.inf
        self._waves: Counter[Call] = Counter()
        self._wave_at: dict[Call, float] = {}
        self._rows: set[int | None] = set()  # jobs whose polls were refused since one passed
        self.checking_until = -math.inf

    @property
    def checking(self) -> bool:
        """Whether nothing but the question may be sent."""
        return self._ask_at < math.inf and (self._asks > 0 or not self._passed)

    @property
    def ask_at(self) -> float:
        """When the question is to be asked; infinite while there is none."""
        return self._ask_at

    @property
    def state(self) -> KeyState:
        """What it comes to for what may be begun."""
        if self._ask_at == math.inf and self.checking_until == -math.inf:
            return SURE
        return KeyState(ask_at=self._ask_at, in_doubt=self.checking, until=self.checking_until)

    def answered(
        self, call: Call, answer: Answer, now: float, *, sent_at: float, row: int | None = None
    ) -> str | None:
        """Take the answer to a request, for the job `row`; return why to end the run, None to go on."""
        if answer.meaning in _PASSED:
            self._good(call, sent_at)
        elif answer.meaning is Meaning.KEY_REFUSED:
            return self._refused(call, answer, now, sent_at, row)
        return None

    def question_answered(self, answer: Answer, now: float, *, sent_at: float) -> str | None:
        """Take the answer to the question; return why to end the run, None to go on."""
        if answer.meaning in _PASSED:
            self._good(Call.OTHER, sent_at)
        elif answer.meaning is not Meaning.KEY_REFUSED:
            if self._ask_at < math.inf:
                self._ask_at = now + AGAIN_S
        elif not answer.bad_key and self._passed:
            self._doubt_no_more()  # this key may not read the credits; other requests tell what it may do
        elif self._ask_at == math.inf:
            self._doubt(now, sent_at)
        else:
            self._asks += 1
            if self._asks >= (ASKS if self._passed else 1):
                return answer.words()
            self._ask_at = now + AGAIN_S * 2.0 ** (self._asks - 1)
        return None

    def _refused(self, call: Call, answer: Answer, now: float, sent_at: float, row: int | None) -> str | None:
        if call is Call.POLL:
            self._rows.add(row)
        if call is Call.POLL and not answer.about_key and len(self._rows) == 1 and self._passed:
            return None  # a task that we may not see
        if sent_at >= self._wave_at.get(call, -math.inf):
            self._wave_at[call] = now
            self._waves[call] += 1
            if self._waves[call] >= (WAVES if call in self._passed else FIRST_WAVES):
                return f"{answer.words()}, each time it is used for a {call.value}"
            if self._waves[call] > 1:
                self.checking_until = now + AGAIN_S * 2.0 ** (self._waves[call] - 2)
        if sent_at >= self._good_sent_at and self._ask_at == math.inf:
            self._doubt(now, sent_at)
        return None

    def _doubt(self, now: float, sent_at: float) -> None:
        self._doubted_at, self._ask_at, self._asks = sent_at, now, 0

    def _doubt_no_more(self) -> None:
        self._doubted_at = self._ask_at = math.inf

    def _good(self, call: Call, sent_at: float) -> None:
        self._passed.add(call)
        self._waves[call] = 0
        if call is Call.POLL:
            self._rows.clear()
        self._good_sent_at = max(self._good_sent_at, sent_at)
        if sent_at >= self._doubted_at:
            self._doubt_no_more()
