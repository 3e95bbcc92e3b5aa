"""What is judged of this machine and of the network around it, before money moves and when a request fails.

Pure rules: each takes what was seen and returns a `Finding`. Some troubles heal while one waits (a name that is
not found, a network that is away); those are told, and the run waits as long as it waits for any service. Those that
do not heal stop a run before its first payment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from runner.service.addresses import Address, is_invented, not_public

CLOCK_SLACK_S = 60.0  # a `Date` is cut to the second and may have been long on its way; a minute is neither

# A result may be hundreds of megabytes; a job takes some ten kilobytes of a database.
NO_ROOM_FOR_RESULTS_BYTES, LITTLE_ROOM_FOR_RESULTS_BYTES = 20_000_000, 500_000_000
NO_ROOM_FOR_STATE_BYTES, LITTLE_ROOM_FOR_STATE_BYTES = 1_000_000, 100_000_000

# Bundles that other programs read and this one does not.
OTHER_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Weight(StrEnum):
    """What follows from a finding."""

    FINE = "fine"
    WARNING = "warning"  # told; the run continues
    STOP = "stop"  # nothing is paid before it is mended


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    `what` is its kind (`clock`, `tls`), `of` whose it is (a host, a folder), `found` a sentence without its
    full stop, `do` what a person can do about it; empty where nothing is to be done.
    """

    what: str
    of: str
    found: str
    weight: Weight
    do: str = ""

    def words(self) -> str:
        """Return what was found and what to do about it, on one line."""
        return f"{self.found}; {self.do}" if self.do else self.found


# --- TLS ------------------------------------------------------------------------------------------

# OpenSSL's numbers of why a certificate proves nothing (x509_vfy.h).
_EXPIRED = frozenset({10})
_NOT_YET = frozenset({9})
_OWN = frozenset({18})
_UNKNOWN = frozenset({2, 19, 20, 21, 27})
_OTHER_NAME = frozenset({62, 64})


def unproven(
    host: str,
    *,
    code: int | None,
    message: str,
    now: str,
    environment: Mapping[str, str],
    missing: frozenset[str],
) -> Finding:
    """Judge a certificate that does not prove that a host is what it says. Waiting mends none of this.

    Args:
        host: Who was asked for.
        code: OpenSSL's number for the reason; other TLS libraries have numbers of their own, or none.
        message: The library's words.
        now: What this machine's clock says, in words.
        environment: What variables are set.
        missing: Which of `OTHER_BUNDLES` name a file that is not there.
    """
    text = message.lower()
    own = environment.get("SSL_CERT_FILE")

    def finding(found: str, do: str) -> Finding:
        return Finding(what="tls", of=host, found=f"{host} {found}", weight=Weight.STOP, do=do)

    if code in _NOT_YET or "not yet valid" in text or "not valid yet" in text:
        return finding(
            f"presents a certificate that is not valid yet by the clock of this machine ({now})",
            "set that clock if it is wrong",
        )
    if code in _EXPIRED or "expired" in text:
        return finding(
            f"presents a certificate that has expired by the clock of this machine ({now})",
            "set that clock if it is wrong; if it is right, only who runs the host can renew the certificate",
        )
    if code in _OTHER_NAME or "mismatch" in text or "does not match" in text:
        return finding(
            "presents a certificate for another name",
            "check RIVYA_BASE_URL; the login page of a network, or a proxy, may be answering in its place",
        )
    if code in _OWN:
        return finding(
            "presents a self-signed certificate",
            "if you know this host and trust it, name its certificate (PEM) with SSL_CERT_FILE",
        )
    if code in _UNKNOWN or "issuer" in text or "not trusted" in text or "self-signed" in text:
        return finding(
            "presents a certificate of an authority that "
            + (f"is not in SSL_CERT_FILE ({own})" if own else "this machine does not know")
            + ": a company proxy or a virus scanner that opens https does so",
            _name_the_authority(environment, missing),
        )
    return finding(f"cannot be verified ({message or 'no reason given'})", "ask who runs the host")


def _name_the_authority(environment: Mapping[str, str], missing: frozenset[str]) -> str:
    how = "name its root certificate (PEM) with SSL_CERT_FILE"
    for name in OTHER_BUNDLES:
        bundle = environment.get(name)
        if not bundle or bundle == environment.get("SSL_CERT_FILE"):
            continue
        if name in missing:
            return f"{how}; {name} names {bundle}, which is not there"
        return f'{name} is not read here: set SSL_CERT_FILE="${name}" if that holds its root certificate'
    return f"{how}, or add it to the certificates of the system"


def no_tls(host: str, *, reason: str) -> Finding:
    """Judge a TLS handshake that failed for another reason than the certificate; `reason` is OpenSSL's word."""
    if reason in _PLAIN:
        return Finding(
            what="tls",
            of=host,
            found=f"{host} does not speak TLS on that port",
            weight=Weight.STOP,
            do="check RIVYA_BASE_URL, and HTTPS_PROXY if it begins with https://; something in between may be answering",
        )
    return Finding(
        what="tls",
        of=host,
        found=f"the TLS handshake failed with {host} ({reason.lower().replace('_', ' ') or 'no reason given'})",
        weight=Weight.WARNING,
        do="a firewall or a proxy may be in between",
    )


_PLAIN = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "UNKNOWN_PROTOCOL",
        "HTTP_REQUEST",
        "HTTPS_PROXY_REQUEST",
        "PACKET_LENGTH_TOO_LONG",
    }
)


# --- names, ways, proxies --------------------------------------------------------------------------


def no_name(host: str, *, why: str) -> Finding:
    """Judge a name that is not found. It may be found once the network, or a VPN, is there."""
    return Finding(
        what="name",
        of=host,
        found=f"the name {host} cannot be found ({why})",
        weight=Weight.WARNING,
        do="check how it is spelled, and the connection to the network",
    )


def no_way(host: str, *, why: str) -> Finding:
    """Judge a connection that this machine cannot even begin."""
    return Finding(
        what="way",
        of=host,
        found=f"this machine has no route to {host} ({why})",
        weight=Weight.WARNING,
        do="check its connection to the network, and its firewall",
    )


def no_proxy(proxy: str, *, why: str) -> Finding:
    """Judge a proxy that cannot be reached."""
    return Finding(
        what="proxy",
        of=proxy,
        found=f"the proxy {proxy} cannot be reached ({why})",
        weight=Weight.WARNING,
        do="start it, or unset HTTPS_PROXY; hosts in NO_PROXY are asked without it",
    )


def proxy_refused(proxy: str, *, host: str, status: int) -> Finding:
    """Judge a proxy that does not let us through: with 407 it wants to know who asks."""
    if status == 403:
        return Finding(
            what="proxy",
            of=proxy,
            found=f"the proxy {proxy} forbids connecting to {host} (HTTP 403)",
            weight=Weight.STOP,
            do=f"ask who runs it; hosts in NO_PROXY are asked without it, as in NO_PROXY={host}",
        )
    if status == 407:
        return Finding(
            what="proxy",
            of=proxy,
            found=f"the proxy {proxy} wants a user name and a password (HTTP 407)",
            weight=Weight.STOP,
            do="put them into HTTPS_PROXY, as in http://user:password@proxy:3128",
        )
    return Finding(
        what="proxy",
        of=proxy,
        found=f"the proxy {proxy} did not connect to {host} (HTTP {status})",
        weight=Weight.WARNING,
        do=f"ask who runs it; hosts in NO_PROXY are asked without it, as in NO_PROXY={host}",
    )


def answers(host: str) -> Finding:
    """Return that a host was reached, whatever it answered."""
    return Finding(what="host", of=host, found=f"{host} answers", weight=Weight.FINE)


def no_results_from(address: Address, host: str) -> Finding:
    """Judge a host of results whose name has an address that results are not fetched from."""
    why, do = not_public(address, host)
    return Finding(what="address", of=host, found=why, weight=Weight.STOP, do=do)


def invented(addresses: Iterable[Address], host: str) -> Finding | None:
    """Judge the addresses of the service itself: where a tool makes them up, it does so for the results' hosts."""
    found = next((address for address in addresses if is_invented(address)), None)
    if found is None:
        return None
    why, do = not_public(found, host)
    return Finding(
        what="address", of=host, found=f"{why}; no results are fetched from such", weight=Weight.STOP, do=do
    )


def ways_of_results(found: Sequence[Finding | None], *, online: bool) -> list[Finding]:
    """Judge the hosts that have delivered results before: nothing is paid for while none of them can be used.

    One that cannot be used beside others that can is only told: results may have moved.

    Args:
        found: What `knock` brought for each; None for a host with troubles of its own.
        online: Whether the service itself was reached: then a name that is not found is no matter of the network.
    """
    barred = [
        each for each in found if each is not None and (each.weight is Weight.STOP or _lost(each, online))
    ]
    weight = Weight.STOP if barred and len(barred) == len(found) else Weight.WARNING
    return [
        replace(
            each,
            weight=weight,
            found=f"results cannot be fetched: {each.found}" if weight is Weight.STOP else each.found,
        )
        if each in barred
        else each
        for each in found
        if each is not None
    ]


def _lost(finding: Finding, online: bool) -> bool:
    return finding.what == "name" and online


# --- the clock ------------------------------------------------------------------------------------


def clock(skew_s: float, host: str) -> Finding:
    """Judge by how much a service's clock is ahead of ours, in seconds: told, however much it is."""
    if abs(skew_s) <= CLOCK_SLACK_S:
        return Finding(what="clock", of=host, found=f"this machine and {host} agree", weight=Weight.FINE)
    direction = "behind" if skew_s > 0 else "ahead of"
    return Finding(
        what="clock",
        of=host,
        found=f"the clock of this machine is {_span(abs(skew_s))} {direction} that of {host}",
        weight=Weight.WARNING,
        do="set it if it is wrong: the times in the database, daily caps and --start-at depend on it",
    )


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if minutes < 120:
        return f"{minutes} minutes"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} hours {minutes} minutes" if minutes else f"{hours} hours"
    return f"{hours // 24} days"


# --- room -----------------------------------------------------------------------------------------


def room_for_results(free_bytes: int, where: str) -> Finding:
    """Judge the room that is left on the disk of the results."""
    bounds = NO_ROOM_FOR_RESULTS_BYTES, LITTLE_ROOM_FOR_RESULTS_BYTES
    return _room(free_bytes, where, "the results go", bounds)


def room_for_state(free_bytes: int, where: str) -> Finding:
    """Judge the room that is left on the disk of the state database."""
    bounds = NO_ROOM_FOR_STATE_BYTES, LITTLE_ROOM_FOR_STATE_BYTES
    return _room(free_bytes, where, "the state database is", bounds)


def _room(free_bytes: int, where: str, what: str, bounds: tuple[int, int]) -> Finding:
    none, little = bounds
    found = f"{free_bytes / 1e6:,.0f} MB are free where {what} ({where})"
    if free_bytes >= little:
        return Finding(what="room", of=where, found=found, weight=Weight.FINE)
    if free_bytes >= none:
        return Finding(what="room", of=where, found=f"only {found}", weight=Weight.WARNING)
    return Finding(
        what="room", of=where, found=f"only {found}", weight=Weight.STOP, do="free disk space, then run again"
    )
