"""Approvals that change the call they approve: what policy denies is refused before it is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from callboard.state.answer_forms import check_answer, edited_arguments, refuse_edit
from callboard.state.answer_rights import check_may_answer
from callboard.state.clarifications import Answer, Clarification, check_open


class JudgeEdit(Protocol):
    """Knows the policy of agent files, by what the question holds of it.

    It says what is wrong with calling the question's tool so, one sentence a problem; nothing where it cannot know,
    for the run that goes on judges once more. It may take seconds, and raises for nothing that people have written.
    """

    async def __call__(self, question: Clarification, arguments: Mapping[str, Any]) -> Sequence[str]: ...


async def check_edit(question: Clarification, given: Answer, judge: JudgeEdit) -> None:
    """Raises what recording the answer would raise, and InvalidInputError for a call that may not be made so."""
    check_open(question)
    check_may_answer(question, given.actor, given.groups)
    check_answer(question, given.answer)
    arguments = edited_arguments(question, given.answer)
    if arguments is not None:
        refuse_edit(question, await judge(question, arguments))
