"""Answers to a submit that several tests need, and two jobs to send."""

from __future__ import annotations

from tests.world import accepted, job, reference, refused

A, B = job("a"), job("b")
PICTURE = reference("a.png")
EMPTY = refused(402, "insufficient_credits")
TOO_FAST = refused(429, "rate_limited")
NO = refused(400)
KEY_REVOKED = refused(401, "api_key_revoked")
FAILED_EMPTY = accepted("t0", status="failed", code="insufficient_credits", reserved=0, final=0)
