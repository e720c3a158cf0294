"""Which files an answer has, what people read, where they go."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from callboard.integrations.slack_blocks import AnswerFile, ResultContent, fetching, render
from callboard.integrations.slack_files import (
    MAX_FILES,
    OwedFile,
    apology,
    file_drafts,
    find_file,
    references,
    share_arguments,
    with_files,
)
from callboard.messaging.reply import ReplyTo
from callboard.state.artifacts import MAX_ARTIFACT_BYTES, Artifact
from callboard.state.deliveries import Delivery, DeliveryStatus

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
A, B, C = "a" * 32, "b" * 32, "c" * 32
THREAD = ReplyTo(channel="C1", thread_ts="1.5", team="T1")
ANSWER = Delivery(
    seq=1,
    id="d" * 32,
    tenant="acme",
    kind="result",
    target=THREAD,
    trace_id=TRACE,
    run_id="1" * 32,
    event_id=None,
    clarification_id=None,
    body=None,
    status=DeliveryStatus.ATTEMPTING,
    attempt=1,
    next_try=NOW,
    created_at=NOW,
)


def kept(artifact_id: str, name: str, size: int = 10) -> Artifact:
    return Artifact(
        id=artifact_id,
        tenant="acme",
        run_id="1" * 32,
        name=name,
        media_type="image/png",
        size_bytes=size,
        digest=hashlib.sha256(artifact_id.encode()).hexdigest(),
        created_at=NOW,
    )


def answer(text: str) -> ResultContent:
    return ResultContent(agent="painter", run_id="1" * 32, trace_id=TRACE, text=text)


def told(text: str, *artifacts: Artifact, target: ReplyTo = THREAD, uploads: bool = True) -> ResultContent:
    return with_files(answer(text), artifacts, target, uploads=uploads)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"image: artifact:{A}", "image: sales.png"),
        (f"see `artifact:{A}`.", "see `sales.png`."),
        (f"![the chart](artifact:{A}) below", "sales.png below"),
        (f"[artifact:{A}](artifact:{A})", "sales.png"),
        (f"artifact:{A} and artifact:{A}", "sales.png and sales.png"),
        (f"artifact:{A}0 is another", f"artifact:{A}0 is another"),
        (f"artifact:{C} is nobody's", f"artifact:{C} is nobody's"),
        ("artifact:short", "artifact:short"),
    ],
)
def test_people_read_names_instead_of_references(text: str, shown: str) -> None:
    assert told(text, kept(A, "sales.png")).text == shown


def test_a_file_that_is_named_twice_comes_once_and_in_the_order_of_the_text() -> None:
    content = told(f"artifact:{B} artifact:{A} artifact:{B}", kept(A, "a.png"), kept(B, "b.png"))
    assert content.files == (AnswerFile(id=B, name="b.png"), AnswerFile(id=A, name="a.png"))
    assert content.to_fetch == ()


def test_two_files_of_one_name_are_told_apart() -> None:
    content = told(f"artifact:{A} artifact:{B} artifact:{C}", kept(A, "x.png"), kept(B, "x.png"), kept(C, "x.png"))
    assert content.text == "x.png x (2).png x (3).png"
    assert told(f"artifact:{A} artifact:{B}", kept(A, "x"), kept(B, "x")).text == "x x (2)"


@pytest.mark.parametrize(
    ("target", "uploads", "size"),
    [
        (replace(THREAD, mode="ephemeral"), True, 10),
        (THREAD, False, 10),
        (THREAD, True, 0),
        (THREAD, True, MAX_ARTIFACT_BYTES + 1),
    ],
)
def test_where_no_file_can_be_put_the_answer_says_how_to_fetch_it(target: ReplyTo, uploads: bool, size: int) -> None:
    content = told(f"image: artifact:{A}", kept(A, "Sales & more.png", size), target=target, uploads=uploads)
    assert content.files == ()
    message = render(content, delivery_id="d")
    command = f"`callboard artifacts get {A} -f Sales_more.png`"
    assert f"Sales &amp; more.png: {command}" in message.blocks[1]["text"]["text"]
    assert command in message.text
    assert "to follow" not in str(message.blocks[-1])


def test_more_files_than_a_person_wants_to_see_are_left_to_be_fetched() -> None:
    ids = [f"{number:032x}" for number in range(1, MAX_FILES + 3)]
    content = told(" ".join(f"artifact:{each}" for each in ids), *(kept(each, f"{each}.png") for each in ids))
    assert (len(content.files), len(content.to_fetch)) == (MAX_FILES, 2)
    assert f"{MAX_FILES} files to follow" in str(render(content, delivery_id="d").blocks[-1])


def test_references_without_end_are_not_followed_without_end() -> None:
    assert len(references(" ".join(f"artifact:{number:032x}" for number in range(2000)))) == 50


def test_a_hostile_name_pings_nobody_and_steers_no_shell() -> None:
    name = "<!channel> `$(reboot)` & \u202epng.exe; rm -rf"
    message = render(told(f"artifact:{A}", kept(A, name)), delivery_id="d")
    assert "<!channel>" not in str(message.blocks)
    assert "&lt;!channel&gt;" in message.text
    assert "\u202e" not in message.text
    assert fetching(A, name) == f"`callboard artifacts get {A} -f _channel_reboot_png.exe_rm_-rf`"
    assert fetching(A, "-rf") == f"`callboard artifacts get {A} -f rf`"
    assert fetching(A, "--") == f"`callboard artifacts get {A} -f file`"


def test_a_file_goes_where_its_answer_went_once_for_each_run() -> None:
    file = AnswerFile(id=A, name="a.png")
    (draft,) = file_drafts(ANSWER, [file], "C0REAL")
    assert (draft.kind, draft.tenant, draft.trace_id, draft.run_id) == ("file", "acme", TRACE, ANSWER.run_id)
    assert draft.target == replace(THREAD, channel="C0REAL")
    (again,) = file_drafts(replace(ANSWER, id="e" * 32), [file])
    (elsewhere,) = file_drafts(replace(ANSWER, run_id="2" * 32), [file])
    assert draft.id == again.id != elsewhere.id
    assert again.target == THREAD
    assert file_drafts(replace(ANSWER, run_id=None), [file]) == ()


def test_an_answer_by_response_url_has_its_files_in_the_channel() -> None:
    by_url = replace(THREAD, thread_ts=None, response_url="https://hooks.slack.com/x", mode="channel")
    (draft,) = file_drafts(replace(ANSWER, target=by_url), [AnswerFile(id=A, name="a.png")])
    assert draft.target == ReplyTo(channel="C1", mode="channel", team="T1")
    assert draft.body is not None
    assert OwedFile.of(owed_by(draft.body)).answer_to == by_url


def owed_by(body: object, target: ReplyTo = THREAD) -> Delivery:
    assert isinstance(body, dict)
    return replace(ANSWER, kind="file", body=body, target=target)


def test_what_is_owed_is_read_back_as_it_was_written() -> None:
    for owed in (
        OwedFile(artifact_id=A, name="a.png", answer_to=THREAD),
        OwedFile(artifact_id=A, name="a.png", answer_to=THREAD, file_id="F1", looks=1),
    ):
        assert OwedFile.of(owed_by(owed.body())) == owed


@pytest.mark.parametrize("channel", ["#eng", "U0ANNA", "", None])
def test_slack_takes_files_for_the_id_of_a_conversation_only(channel: str | None) -> None:
    owed = OwedFile(artifact_id=A, name="a.png", answer_to=THREAD, file_id="F1")
    assert share_arguments(owed_by(owed.body(), replace(THREAD, channel=channel)), owed) is None
    assert share_arguments(owed_by(owed.body()), owed) == {
        "files": [{"id": "F1", "title": "a.png"}],
        "channel_id": "C1",
        "thread_ts": "1.5",
    }


def test_a_file_is_found_by_slacks_own_id() -> None:
    page = {"messages": [{"ts": "1.1"}, "?", {"ts": "1.2", "files": [{"id": "F2"}, "?", {"id": "F1"}]}]}
    assert find_file("F1", page) == "1.2"
    assert find_file("F3", page) is None
    assert find_file("F1", {}) is None


def test_who_waits_for_a_file_that_stays_away_reads_why_and_how_to_fetch_it() -> None:
    by_url = replace(THREAD, response_url="https://hooks.slack.com/x")
    owed = OwedFile(artifact_id=A, name="a.png", answer_to=by_url)
    draft = apology(owed_by(owed.body()), owed, "missing_scope")
    assert (draft.kind, draft.target) == ("notice", by_url)
    text = str((draft.body or {})["text"])
    assert text.startswith("a.png could not be put here: the Slack app lacks the scope files:write;")
    assert text.endswith(f"`callboard artifacts get {A} -f a.png` fetches it.")
    unknown = apology(owed_by(owed.body()), owed, "outcome_unknown", unknown=True)
    assert unknown.id == draft.id
    assert str((unknown.body or {})["text"]).startswith("Whether a.png arrived here is not known. ")
