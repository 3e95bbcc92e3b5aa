"""What is said of a machine and its network, and whether it stops a run before its first payment."""

from __future__ import annotations

import pytest

from runner.host import surroundings
from runner.host.surroundings import Finding, Weight
from runner.service.addresses import read_address

NOW = "2026-11-29 01:00 UTC"


def unproven(
    code: int | None, message: str = "", missing: frozenset[str] = frozenset(), **environment: str
) -> Finding:
    return surroundings.unproven(
        "rivya.ai", code=code, message=message, now=NOW, environment=environment, missing=missing
    )


@pytest.mark.parametrize(
    ("code", "message", "found"),
    [
        # OpenSSL's numbers.
        (9, "certificate is not yet valid", f"not valid yet by the clock of this machine ({NOW})"),
        (10, "certificate has expired", f"has expired by the clock of this machine ({NOW})"),
        (18, "self-signed certificate", "presents a self-signed certificate"),
        (19, "self-signed certificate in certificate chain", "an authority that this machine does not know"),
        (20, "unable to get local issuer certificate", "an authority that this machine does not know"),
        (21, "unable to verify the first certificate", "an authority that this machine does not know"),
        (62, "Hostname mismatch, certificate is not valid for 'rivya.ai'.", "for another name"),
        (64, "IP address mismatch, certificate is not valid for '10.0.0.1'.", "for another name"),
        (23, "certificate revoked", "cannot be verified (certificate revoked)"),
        (67, "CA certificate key too weak", "cannot be verified (CA certificate key too weak)"),
        (1, "", "cannot be verified (no reason given)"),
        # A Mac's own words, with numbers of its own.
        (-67818, "“rivya.ai” certificate is expired", "has expired"),
        (-67819, "“rivya.ai” certificate is not valid yet", "not valid yet"),
        (-67843, "“rivya.ai” certificate is not trusted", "an authority that this machine does not know"),
        (-67602, "“rivya.ai” certificate name does not match input", "for another name"),
        (None, "", "cannot be verified"),
    ],
)
def test_each_reason_has_a_plain_sentence(code: int | None, message: str, found: str) -> None:
    finding = unproven(code, message)

    assert finding.found.startswith("rivya.ai ")
    assert found in finding.found
    assert finding.do
    assert finding.weight is Weight.STOP  # waiting mends none of it


def test_who_is_to_be_believed_is_named_where_others_know_it() -> None:
    assert "a company proxy" in unproven(20).found
    assert "of the system" in unproven(20).do
    assert 'SSL_CERT_FILE="$CURL_CA_BUNDLE"' in unproven(19, CURL_CA_BUNDLE="/etc/c.pem").do
    both = unproven(19, CURL_CA_BUNDLE="/etc/c.pem", REQUESTS_CA_BUNDLE="/etc/r.pem")
    assert 'SSL_CERT_FILE="$REQUESTS_CA_BUNDLE"' in both.do
    gone = unproven(20, missing=frozenset({"REQUESTS_CA_BUNDLE"}), REQUESTS_CA_BUNDLE="/etc/r.pem")
    assert "REQUESTS_CA_BUNDLE names /etc/r.pem, which is not there" in gone.do
    # What was named already is not advised again.
    named = unproven(20, SSL_CERT_FILE="/etc/r.pem", REQUESTS_CA_BUNDLE="/etc/r.pem")
    assert "is not in SSL_CERT_FILE (/etc/r.pem)" in named.found
    assert "REQUESTS_CA_BUNDLE" not in named.do


@pytest.mark.parametrize(
    ("finding", "weight"),
    [
        (surroundings.no_tls("rivya.ai", reason="WRONG_VERSION_NUMBER"), Weight.STOP),
        (surroundings.no_tls("rivya.ai", reason="UNEXPECTED_EOF_WHILE_READING"), Weight.WARNING),
        (surroundings.no_tls("rivya.ai", reason=""), Weight.WARNING),
        (surroundings.no_name("rivya.ai", why="Name or service not known"), Weight.WARNING),
        (surroundings.no_way("rivya.ai", why="Network is unreachable"), Weight.WARNING),
        (surroundings.no_proxy("proxy:3128", why="Connection refused"), Weight.WARNING),
        (surroundings.proxy_refused("proxy:3128", host="rivya.ai", status=407), Weight.STOP),
        (surroundings.proxy_refused("proxy:3128", host="rivya.ai", status=503), Weight.WARNING),
        (surroundings.no_results_from(read_address("198.18.0.7"), "media.rivya.ai"), Weight.STOP),
    ],
)
def test_only_what_does_not_heal_stops_a_run(finding: Finding, weight: Weight) -> None:
    assert finding.weight is weight
    assert finding.of in finding.found
    assert finding.do
    assert finding.words() == f"{finding.found}; {finding.do}"


@pytest.mark.parametrize(
    ("skew_s", "found"),
    [
        (0.0, None),
        (60.0, None),
        (-60.0, None),
        (61.0, "the clock of this machine is 61 seconds behind that of rivya.ai"),
        (-75.4, "the clock of this machine is 75 seconds ahead of that of rivya.ai"),
        (300.0, "the clock of this machine is 5 minutes behind that of rivya.ai"),
        (36_000.0, "the clock of this machine is 10 hours behind that of rivya.ai"),
        (36_300.0, "the clock of this machine is 10 hours 5 minutes behind that of rivya.ai"),
        (-864_000.0, "the clock of this machine is 10 days ahead of that of rivya.ai"),
    ],
)
def test_a_clock_that_disagrees_is_told_with_numbers(skew_s: float, found: str | None) -> None:
    finding = surroundings.clock(skew_s, "rivya.ai")

    if found is None:
        assert finding.weight is Weight.FINE
        assert finding.words() == finding.found
    else:
        assert (finding.found, finding.weight) == (found, Weight.WARNING)


@pytest.mark.parametrize(
    ("free", "results", "state"),
    [
        (0, Weight.STOP, Weight.STOP),
        (999_999, Weight.STOP, Weight.STOP),
        (1_000_000, Weight.STOP, Weight.WARNING),
        (19_999_999, Weight.STOP, Weight.WARNING),
        (20_000_000, Weight.WARNING, Weight.WARNING),
        (100_000_000, Weight.WARNING, Weight.FINE),
        (499_999_999, Weight.WARNING, Weight.FINE),
        (500_000_000, Weight.FINE, Weight.FINE),
    ],
)
def test_room_is_told_when_it_gets_short(free: int, results: Weight, state: Weight) -> None:
    found = surroundings.room_for_results(free, "out"), surroundings.room_for_state(free, "state")

    assert tuple(each.weight for each in found) == (results, state)
    assert f"{free / 1e6:,.0f} MB are free where the results go (out)" in found[0].found
    assert "where the state database is (state)" in found[1].found
