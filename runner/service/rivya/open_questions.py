"""What Rivya's documentation leaves open: what is assumed, and what happens where it is otherwise.

`runner/service/README.md` shows it as a table, and `doctor` beside what was seen.
"""

from __future__ import annotations

from typing import NamedTuple


class OpenQuestion(NamedTuple):
    """One line. `key` is that of the fact that answers it (`service/seen.py`)."""

    key: str
    open: str
    assumed: str
    otherwise: str


OPEN_QUESTIONS: tuple[OpenQuestion, ...] = (
    OpenQuestion(
        "create_status",
        "status of a success",
        "any 2xx that names a task's id, in its body or by a `Location`, and a 303 that leads to a task",
        "a success without an id stays unclear, and is sent again with its key; ten in a row end submitting",
    ),
    OpenQuestion(
        "same_key",
        "same key, same body",
        "the first task comes back",
        "within `resend_within` a second task is paid for; what is sent again is kept to unclear sends",
    ),
    OpenQuestion(
        "other_body",
        "same key, another body",
        "409, and nothing is made",
        "never sent: another body has another key",
    ),
    OpenQuestion(
        "key_at_work",
        "key of a request that is still worked on",
        "409 while it is, and a task that such an answer shows is taken for ours; or the service takes it for new",
        "the first is asked eight times, then a person decides; against the second, `resend_after` waits before the same key goes out",  # noqa: E501
    ),
    OpenQuestion(
        "key_life",
        "how long a key is remembered",
        "at least `resend_within` (1 h)",
        "shorter: a send repeated after that may be paid twice; set `resend_within` lower",
    ),
    OpenQuestion(
        "key_scope",
        "whose key it is",
        "the account's, across endpoints",
        "keys carry a prefix for each kind of request; a submit that is unclear is never repeated under another account's key",  # noqa: E501
    ),
    OpenQuestion(
        "key_form",
        "form of a key",
        "64 characters of letters, digits, `_` and `-` are taken",
        "refused for good, before anything is paid",
    ),
    OpenQuestion(
        "request_id_form",
        "form of `client_request_id`",
        "the same text as the key, ASCII and under 128 characters, is taken",
        "refused for good, before anything is paid",
    ),
    OpenQuestion(
        "lost_id",
        "finding a task whose id was lost",
        "impossible",
        "a person may name it: `resolve --attach`",
    ),
    OpenQuestion(
        "rate_limit",
        "rate limits",
        "none is known; found from below, `Retry-After` heeded in every form",
        "a lower limit costs some 429, a higher one some time",
    ),
    OpenQuestion(
        "no_credits",
        "status of `insufficient_credits`",
        "known by its code, whatever the status, and by codes that say the same; 402 in the API's own shape counts as well; it may come as a failed task too",  # noqa: E501
        "another code is a refusal like any other: the job fails, nothing is charged",
    ),
    OpenQuestion(
        "codes",
        "codes nobody documented",
        "a 4xx in the API's own shape refuses this request for good; 408, 423, 424, 425, 499, 5xx, codes that speak of a gateway or a timeout, and every other shape are unclear",  # noqa: E501
        "a refusal that was none: the job is `failed` and its task, if there is one, is not brought home",
    ),
    OpenQuestion(
        "quota",
        "a quota with another status than 429",
        "a code about a quota, a limit or billing, a 403 that speaks of a quota, or `Retry-After` with 400, 402, 403 or 422, is waited for",  # noqa: E501
        "a refusal for good: the run waits as long as its patience",
    ),
    OpenQuestion(
        "bare_429",
        "429 without a word in it",
        "refused for now; same key and bytes later",
        "if it was accepted, the repeat brings its task",
    ),
    OpenQuestion(
        "price",
        "price of a request",
        "`base_credits` at least; learned from what was charged",
        "under a cap, the first of a kind goes alone; a surprise is one payment's at most",
    ),
    OpenQuestion(
        "failed_charge",
        "charge of a failed task",
        "`final_credits` where it is named; else all that was reserved",
        "too much is counted, never too little",
    ),
    OpenQuestion(
        "final_credits",
        "`final_credits: 0` of a success",
        "not believed while something was reserved",
        "too much is counted",
    ),
    OpenQuestion(
        "upload",
        "fields of an uploaded file",
        "`url`, and what else is known by name",
        "without an https url the upload is unclear, and made again",
    ),
    OpenQuestion(
        "megabyte",
        'what "MB" is',
        "files up to the larger of the two (1,048,576 bytes) are sent, with a warning above the smaller",
        "refused at the upload: the job fails, nothing is paid",
    ),
    OpenQuestion(
        "upload_life",
        "life of an upload",
        "`uploads.reuse_within` (1 h)",
        "a refusal that names the url leads to another upload, twice at most",
    ),
    OpenQuestion(
        "same_file",
        "same file twice",
        "two files, no charge",
        "nothing: each is uploaded once for each model and hour",
    ),
    OpenQuestion(
        "duration_token",
        "`durationToken`",
        "sent wherever an upload named one",
        "refused, nothing is paid",
    ),
    OpenQuestion(
        "other_hosts",
        "references at other hosts",
        "refused; a file that is named by url is fetched by us and uploaded",
        "nothing",
    ),
    OpenQuestion(
        "params",
        "parameters",
        "those of the model's contract, in its types",
        "refused, nothing is paid; `models sync` reads the service's own list",
    ),
    OpenQuestion(
        "models",
        "shape of the list of models",
        "read leniently; it may widen what the bundled contracts accept, never narrow it",
        "what cannot be read is left out, and `models sync` says what differs",
    ),
    OpenQuestion(
        "url_life",
        "life of a result's url",
        "short: fetched at once; asked for anew when it is refused",
        "the task is asked again for as long as it names it",
    ),
    OpenQuestion(
        "result_key",
        "key for results",
        "none is sent, wherever a result is",
        "the download is refused, and told",
    ),
    OpenQuestion(
        "updated_at",
        "`updated_at`",
        "the end of a task, where our own polls agree",
        "durations are learned from our own polls",
    ),
    OpenQuestion(
        "ranges",
        "ranges of a result",
        "a part is gone on with where the host proves that it is the same file",
        "fetched from its beginning",
    ),
    OpenQuestion(
        "result_type",
        "type of a result",
        "whatever the host says; what it is, its first bytes tell",
        "it is told, and kept",
    ),
    OpenQuestion(
        "longest_task",
        "longest task",
        "none; `job_deadline` (6 h) only reports",
        "nothing is sent again",
    ),
    OpenQuestion(
        "states",
        "states nobody documented",
        "a task goes on, unless it names a result or an end; only `failed` fails a job",
        "it is told, and a person decides",
    ),
    OpenQuestion(
        "poll_id",
        "a poll without the task's id",
        "it is the task that was asked for, if it looks like one; it never fails a job",
        "a result of another task is taken",
    ),
    OpenQuestion(
        "unknown_task",
        "an unknown task",
        "404 is asked again for five minutes, and by later runs",
        "`resolve` closes it",
    ),
    OpenQuestion(
        "changes",
        "changes since the documentation was read",
        "none",
        "an answer in another shape is unclear: nothing is sent again but with its key, and ten in a row end submitting",
    ),
    OpenQuestion(
        "webhooks",
        "webhooks",
        "none",
        "nothing",
    ),
)
