"""The files that an answer names: which they are, what people read instead of a reference, where they go; pure.

Slack shows a file to a whole conversation or to nobody: there is no file that one person alone sees. Where none can be
put, the answer says how to fetch it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from callboard.ids import derive_id
from callboard.integrations.slack_blocks import AnswerFile, ResultContent, fetching
from callboard.messaging.reply import ReplyTo
from callboard.state.artifacts import MAX_ARTIFACT_BYTES, Artifact
from callboard.state.deliveries import Delivery, DeliveryDraft

MAX_FILES = 10
"""So many files of one answer are put beside it; further ones are named with the way to fetch them."""

MAX_NAMED = 50
MAX_FILE_BYTES = MAX_ARTIFACT_BYTES
"""Slack itself takes up to 1 GB."""

_ID = r"artifact:([0-9a-f]{32})(?![0-9a-f])"
_REFERENCE = re.compile(rf"!?\[[^\]\n]{{0,200}}\]\({_ID}\)|{_ID}")
"""Alone, or as the address of a Markdown image or link."""

_CHANNEL_ID = re.compile(r"[CGDZ][A-Z0-9_]+")
_WAYS_OUT = {
    "missing_scope": "the Slack app lacks the scope files:write; whoever manages it makes the manifest again and "
    "installs the app once more",
    "not_in_channel": "the app has to be a member of this channel for that; invite it",
    "channel_not_found": "the app has to be a member of this conversation for that; invite it",
    "is_archived": "this channel is archived",
    "file_uploads_disabled": "this workspace takes no files",
    "file_uploads_except_images_disabled": "this workspace takes images only",
    "file_type_not_allowed": "this workspace takes no files of this type",
    "file_upload_size_restricted": "it is larger than this workspace allows",
    "storage_limit_reached": "this workspace has no room left",
    "upload_url_refused": "the address that was named for its bytes is not Slack's",
    "rate_limited": "Slack asked to wait for more than a day",
    "slack_unreachable": "Slack could not be reached for a day",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedFile:
    """What the delivery of a file knows. `file_id` is Slack's, once the bytes are there; `looks` counts how often it
    was looked for in vain after an attempt whose outcome is unknown; `answer_to` is where the answer itself went."""

    artifact_id: str
    name: str
    answer_to: ReplyTo
    file_id: str | None = None
    looks: int = 0

    @staticmethod
    def of(delivery: Delivery) -> OwedFile:
        """Raises KeyError for a delivery of another kind."""
        body = delivery.body or {}
        return OwedFile(
            artifact_id=body["artifact"],
            name=body["name"],
            answer_to=ReplyTo.from_record(body["answer_to"]),
            file_id=body.get("file_id"),
            looks=int(body.get("looks", 0)),
        )

    def body(self) -> dict[str, Any]:
        """The JSON form that the ledger keeps."""
        body = {"artifact": self.artifact_id, "name": self.name, "answer_to": self.answer_to.to_record()}
        known = {"file_id": self.file_id, "looks": self.looks or None}
        return {**body, **{name: value for name, value in known.items() if value is not None}}


def references(text: str) -> tuple[str, ...]:
    """The ids of the artifacts that a text names, each once, in order; of very many only the first."""
    found = dict.fromkeys(match[1] or match[2] for match in _REFERENCE.finditer(text))
    return tuple(found)[:MAX_NAMED]


def with_files(content: ResultContent, kept: Iterable[Artifact], target: ReplyTo, *, uploads: bool) -> ResultContent:
    """The answer with names for references. `kept` are those of the run's artifacts that it refers to: what is no
    artifact of this run stays as it stands. Without `uploads` (no bot token) nothing can be put into Slack."""
    known = {artifact.id: artifact for artifact in kept}
    ordered = [known[each] for each in references(content.text) if each in known]
    files = _named(ordered)
    names = {file.id: file.name for file in files}

    def name_of(match: re.Match[str]) -> str:
        return names.get(match[1] or match[2], match[0])

    places = uploads and target.mode != "ephemeral"
    sent = [
        file
        for file, artifact in zip(files, ordered, strict=True)
        if places and 0 < artifact.size_bytes <= MAX_FILE_BYTES
    ][:MAX_FILES]
    return replace(
        content,
        text=_REFERENCE.sub(name_of, content.text),
        files=tuple(sent),
        to_fetch=tuple(file for file in files if file not in sent),
    )


def file_drafts(delivery: Delivery, files: Sequence[AnswerFile], channel: Any = None) -> tuple[DeliveryDraft, ...]:
    """The deliveries of an answer's files, planned together with its arrival: one for each (run, artifact), ever.

    `channel` is the id that Slack answered the answer with; a `#name` or a person is none.
    """
    if delivery.run_id is None:
        return ()
    place = channel if isinstance(channel, str) and channel else delivery.target.channel
    target = replace(delivery.target, channel=place, response_url=None, expires_at=None)
    return tuple(
        DeliveryDraft(
            id=derive_id("file", delivery.run_id, file.id),
            kind="file",
            target=target,
            trace_id=delivery.trace_id,
            run_id=delivery.run_id,
            body=OwedFile(artifact_id=file.id, name=file.name, answer_to=delivery.target).body(),
            tenant=delivery.tenant,
        )
        for file in files
    )


def share_arguments(delivery: Delivery, owed: OwedFile) -> dict[str, Any] | None:
    """What shows an uploaded file; None where the conversation's id is not known, which Slack wants here."""
    channel = delivery.target.channel
    if channel is None or _CHANNEL_ID.fullmatch(channel) is None:
        return None
    arguments: dict[str, Any] = {"files": [{"id": owed.file_id, "title": owed.name}], "channel_id": channel}
    if delivery.target.thread_ts is not None:
        arguments["thread_ts"] = delivery.target.thread_ts
    return arguments


def find_file(file_id: str, page: Mapping[str, Any]) -> str | None:
    """The `ts` of the message with that file in one page of a channel's history."""
    messages = page.get("messages")
    for message in messages if isinstance(messages, list) else []:
        files = message.get("files") if isinstance(message, Mapping) else None
        if any(isinstance(file, Mapping) and file.get("id") == file_id for file in files or ()):
            return str(message.get("ts") or "")
    return None


def apology(delivery: Delivery, owed: OwedFile, code: str, *, unknown: bool = False) -> DeliveryDraft:
    """What stands beside the answer when its file does not, or may not."""
    failed = f"{owed.name} could not be put here: {_WAYS_OUT.get(code, code)}"
    what = f"Whether {owed.name} arrived here is not known" if unknown else failed
    return DeliveryDraft(
        id=derive_id("apology", delivery.id),
        kind="notice",
        target=owed.answer_to,
        trace_id=delivery.trace_id,
        run_id=delivery.run_id,
        body={"text": f"{what}. {fetching(owed.artifact_id, owed.name)} fetches it."},
        tenant=delivery.tenant,
    )


def _named(artifacts: Sequence[Artifact]) -> list[AnswerFile]:
    """Different files have different names."""
    taken: set[str] = set()
    files = []
    for artifact in artifacts:
        name, number = artifact.name, 1
        stem, dot, ending = artifact.name.rpartition(".")
        while name in taken:
            number += 1
            name = f"{stem} ({number}).{ending}" if dot else f"{artifact.name} ({number})"
        taken.add(name)
        files.append(AnswerFile(id=artifact.id, name=name))
    return files
