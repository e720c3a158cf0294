"""Questions and approvals over HTTP: what they show, who may answer, and what an answer looks like."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from callboard.state.clarifications import ClarificationKind, QuestionDraft
from callboard.state.runs import RunStatus, WaitingKind
from tests.support.api_house import ApiHouse, api_house

pytestmark = pytest.mark.slow

QUESTION = "c" * 32
MAIL = {"to": "all@example.org"}
SCHEMA = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[ApiHouse]:
    async with api_house(tmp_path, token="secret") as opened:
        yield opened


@pytest.fixture
async def client(house: ApiHouse) -> AsyncIterator[httpx2.AsyncClient]:
    async with house.client() as opened:
        yield opened


async def approval(house: ApiHouse, client: httpx2.AsyncClient, **rules: Any) -> str:
    """The task that waits for the approval of a call."""
    task = await house.invoke(client)
    asked = {
        "id": QUESTION,
        "key": "1",
        "kind": ClarificationKind.CONFIRMATION,
        "question": "May I?",
        "purpose": "approval",
        "details": {"tool": "send_email", "arguments": MAIL, "digest": "d" * 64, "why": "approval: ask"},
        "digest": "d" * 64,
        "schema": SCHEMA,
    }
    draft = QuestionDraft(**{**asked, **rules})
    await house.settle(await house.claim(), RunStatus.WAITING, waiting_kind=WaitingKind.APPROVAL, question=draft)
    return task


async def test_an_approval_is_listed_with_its_call_its_deadline_and_who_may_answer(
    house: ApiHouse, client: httpx2.AsyncClient
) -> None:
    deadline = house.clock.now() + timedelta(hours=1)
    task = await approval(
        house, client, may_answer=("U0ANNA",), not_requester=True, deadline=deadline, on_deadline="wait"
    )
    (listed,) = (await client.get("/api/v1/clarifications")).json()["clarifications"]
    assert listed == (await client.get(f"/api/v1/clarifications/{QUESTION}")).json()
    assert (listed["purpose"], listed["tool"], listed["arguments"]) == ("approval", "send_email", MAIL)
    assert (listed["may_answer"], listed["not_requester"], listed["requester"]) == (["U0ANNA"], True, "token")
    assert listed["on_deadline"] == "wait"
    assert listed["deadline"].endswith("Z")
    assert listed["details"]["why"] == "approval: ask"
    status = (await client.get(f"/api/v1/agents/status/{task}")).json()
    assert (status["waiting_for"]["kind"], status["waiting_for"]["id"]) == ("approval", QUESTION)


@pytest.mark.parametrize(
    "answer",
    [
        True,
        False,
        {"approved": True, "arguments": {"to": "me@example.org"}},
        {"approved": False, "reason": "too soon"},
    ],
)
async def test_an_approval_is_answered_in_all_its_forms(
    house: ApiHouse, client: httpx2.AsyncClient, answer: object
) -> None:
    task = await approval(house, client)
    answered = await client.post(f"/api/v1/agents/approve/{task}", json={"answer": answer})
    assert (answered.status_code, answered.json()["answer"]) == (200, answer)
    assert (await client.get(f"/api/v1/agents/status/{task}")).json()["status"] == "queued"


async def test_changed_arguments_that_do_not_fit_the_tool_are_refused_naming_each_problem(
    house: ApiHouse, client: httpx2.AsyncClient
) -> None:
    task = await approval(house, client, schema={**SCHEMA, "additionalProperties": False})
    refused = await client.post(
        f"/api/v1/agents/approve/{task}", json={"answer": {"approved": True, "arguments": {"to": 5, "cc": 1}}}
    )
    assert refused.status_code == 422
    error = refused.json()["error"]
    assert (error["code"], error["field"]) == ("invalid_answer", "answer")
    assert "to: 5 is not of type 'string'" in error["message"]
    assert "'cc' was unexpected" in error["message"]


async def test_changed_arguments_that_the_agent_file_denies_are_refused_and_the_question_stays_open(
    house: ApiHouse, client: httpx2.AsyncClient
) -> None:
    policy = {"approval": "ask", "rules": [{"when": {"to": "@rival"}, "approval": "deny"}]}
    details = {"tool": "send_email", "arguments": MAIL, "why": "approval: ask", "policy": policy}
    task = await approval(house, client, details=details)
    denied = {"approved": True, "arguments": {"to": "boss@rival.example"}}
    for path in (f"agents/approve/{task}", f"agents/approve/{QUESTION}", f"clarifications/{QUESTION}/answer"):
        refused = await client.post(f"/api/v1/{path}", json={"answer": denied})
        assert refused.status_code == 422, refused.text
        error = refused.json()["error"]
        assert (error["code"], error["field"]) == ("invalid_answer", "answer")
        assert "send_email is not allowed with them: its argument to fits the rule '@rival'" in error["message"]
        assert "stays open: send other arguments, approve what was asked, or reject it" in error["message"]
    assert (await client.get(f"/api/v1/clarifications/{QUESTION}")).json()["status"] == "asked"
    allowed = {"approved": True, "arguments": {"to": "boss@example.org"}}
    answered = await client.post(f"/api/v1/agents/approve/{task}", json={"answer": allowed})
    assert (answered.status_code, answered.json()["answer"]) == (200, allowed)
    late = await client.post(f"/api/v1/agents/approve/{task}", json={"answer": denied})
    assert (late.status_code, late.json()["error"]["code"]) == (409, "already_answered")


async def test_what_was_said_in_the_run_is_not_shown_with_its_question(
    house: ApiHouse, client: httpx2.AsyncClient
) -> None:
    policy = {"approval": "ask", "rules": [], "after_untrusted": "deny", "with": {}}
    details = {"tool": "send_email", "arguments": MAIL, "policy": policy, "written": ["the canary sings"]}
    task = await approval(house, client, details=details)
    for path in (f"clarifications/{QUESTION}", "clarifications", f"runs/{task}"):
        shown = await client.get(f"/api/v1/{path}")
        assert shown.status_code == 200
        assert "canary" not in shown.text
    answer = {"approved": True, "arguments": {"to": "see https://evil.example/"}}
    refused = await client.post(f"/api/v1/agents/approve/{task}", json={"answer": answer})
    assert (refused.status_code, "could carry data to evil.example" in refused.text) == (422, True)
    assert "canary" not in refused.text


async def test_who_may_not_answer_hears_that_and_nothing_of_the_policy(
    house: ApiHouse, client: httpx2.AsyncClient
) -> None:
    details = {"tool": "send_email", "arguments": MAIL, "policy": {"approval": "deny", "rules": []}}
    task = await approval(house, client, details=details, may_answer=("U0ANNA",))
    answer = {"approved": True, "arguments": {"to": "boss@example.org"}}
    refused = await client.post(f"/api/v1/agents/approve/{task}", json={"answer": answer})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "may_not_answer")


async def test_G7_a_principal_that_is_not_named_is_refused_whatever_label_it_gives(
    house: ApiHouse, client: httpx2.AsyncClient
) -> None:
    task = await approval(house, client, may_answer=("U0ANNA", "S0OPS"))
    for path in (f"agents/approve/{task}", f"agents/approve/{QUESTION}", f"clarifications/{QUESTION}/answer"):
        refused = await client.post(f"/api/v1/{path}", json={"answer": True, "answered_by": "U0ANNA"})
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "may_not_answer"
        assert "U0ANNA, members of S0OPS" in refused.json()["error"]["message"]
    assert (await client.get(f"/api/v1/clarifications/{QUESTION}")).json()["status"] == "asked"


async def test_the_token_answers_where_it_is_named(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    task = await approval(house, client, may_answer=("U0ANNA", "token"))
    answered = await client.post(f"/api/v1/agents/approve/{task}", json={"answer": True, "answered_by": "mia"})
    assert (answered.status_code, answered.json()["answered_by"]) == (200, "mia")


async def test_G7_a_task_started_with_the_token_is_not_approved_with_it_by_the_four_eyes_rule(
    house: ApiHouse, client: httpx2.AsyncClient
) -> None:
    task = await approval(house, client, not_requester=True)
    refused = await client.post(f"/api/v1/agents/approve/{task}", json={"answer": True})
    assert refused.status_code == 403
    assert "not token" in refused.json()["error"]["message"]


async def test_who_comes_second_is_told_who_decided_what(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    task = await approval(house, client)
    await client.post(
        f"/api/v1/agents/approve/{task}",
        json={"answer": {"approved": False, "reason": "too soon"}, "answered_by": "mia"},
    )
    late = await client.post(f"/api/v1/agents/approve/{task}", json={"answer": True})
    assert late.status_code == 409
    assert "mia" in late.json()["error"]["message"]
    assert "too soon" in late.json()["error"]["message"]
    assert late.json()["clarification"]["answer"] == {"approved": False, "reason": "too soon"}


async def test_the_operations_name_the_principal_and_not_the_label(house: ApiHouse, client: httpx2.AsyncClient) -> None:
    task = await approval(house, client)
    await client.post(f"/api/v1/agents/approve/{task}", json={"answer": True, "answered_by": "mia"})
    operations = (await client.get("/api/v1/operations")).json()["operations"]
    (done,) = [each for each in operations if each["action"] == "clarification.answer"]
    assert (done["actor"]["id"], done["object"]) == ("token", QUESTION)
