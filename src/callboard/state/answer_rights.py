"""Who may answer a question; pure (DESIGN.md, R33: authority is the authenticated principal, never a label)."""

from __future__ import annotations

import re
from collections.abc import Collection

from callboard.errors import ForbiddenError
from callboard.messaging.events import Actor
from callboard.state.clarifications import Clarification

_GROUP = re.compile(r"S[A-Z0-9]{2,}")


def is_group(name: str) -> bool:
    """Whether a name of `may_answer` is a Slack user group's id."""
    return _GROUP.fullmatch(name) is not None


def groups_to_ask(question: Clarification, actor: Actor) -> tuple[str, ...]:
    """The user groups on which it depends whether the actor may answer; none where it is clear without them."""
    if actor.via != "slack" or actor.id in question.may_answer or _is_requester(question, actor):
        return ()
    return tuple(name for name in question.may_answer if is_group(name))


def check_may_answer(question: Clarification, actor: Actor, groups: Collection[str]) -> None:
    """Raises ForbiddenError (`may_not_answer`) that names who may. `groups`: those the actor is known to belong to.

    Where nobody is named everybody may who can, a holder of the API's token too; where somebody is, the API's
    principals must be named like anybody else.
    """
    if _is_requester(question, actor):
        raise _refused(question, actor, "asked for it")
    if not question.may_answer or (actor.id in question.may_answer and not is_group(actor.id)):
        return
    if actor.via == "slack" and any(name in groups for name in question.may_answer if is_group(name)):
        return
    raise _refused(question, actor, "is not among them")


def who_may(question: Clarification) -> str:
    """In words for people."""
    named = ", ".join(f"members of {name}" if is_group(name) else name for name in question.may_answer)
    if not question.not_requester:
        return named or "everybody"
    return f"{named or 'everybody'} but not {question.requester or 'who asked for it'}"


def _is_requester(question: Clarification, actor: Actor) -> bool:
    """Where nobody knows who asked, nobody is let in as another."""
    return question.not_requester and question.requester in (None, actor.id)


def _refused(question: Clarification, actor: Actor, why: str) -> ForbiddenError:
    return ForbiddenError(
        f"the question {question.id} is for {who_may(question)} to answer; {actor.id} {why}",
        code="may_not_answer",
    )
