"""The store: the verbs by which the rest of the program changes what is true.

Each verb is one unit of work; what it brings about is told after its commit through the outbox. A verb whose outcome
is unknown may be repeated: an accept knows its event id, a claim its token, a finish its fencing number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from callboard.clock import Clock
from callboard.errors import FencedError, UnavailableError
from callboard.failpoint import reached
from callboard.messaging.events import Actor
from callboard.state.accepting import Accepted, EventDraft
from callboard.state.announcer import Announcer
from callboard.state.answer_forms import changes_call
from callboard.state.clarifications import Answer, Clarification
from callboard.state.database import Database
from callboard.state.edited_calls import JudgeEdit, check_edit
from callboard.state.finishing import ChildDraft, Consequences, Settlement, StoredEvent
from callboard.state.pausing import PATIENCE
from callboard.state.routing import Routed, Routing
from callboard.state.runs import ClaimedRun, ClaimRequest, RunStatus
from callboard.state.sql import answering, pausing, question_sweep
from callboard.state.sql.claiming import claim
from callboard.state.sql.events import accept_events
from callboard.state.sql.finishing import settle
from callboard.state.sql.replaying import begin_run
from callboard.state.sql.routing import route

ROUTE_AT_ONCE = 200
RESUME_AT_ONCE = 500


SettledListener = Callable[[Settlement, RunStatus, float], None]


class Store:
    """The path of a request through the database: accept, route, claim, settle; and what people do to it."""

    def __init__(
        self,
        database: Database,
        announcer: Announcer,
        clock: Clock,
        *,
        patience: timedelta = PATIENCE,
        judge_edit: JudgeEdit | None = None,
    ) -> None:
        """`patience` is how long a run may wait for a provider or for others' reservations. Without `judge_edit` only
        the run that goes on looks whether the policy allows a call as people have changed it."""
        self._database = database
        self._announcer = announcer
        self._clock = clock
        self._patience = patience
        self._judge_edit = judge_edit
        self._on_settled: list[SettledListener] = []
        self._unanswered: dict[tuple[str, str], str] = {}

    def on_settled(self, listener: SettledListener) -> None:
        """`listener` is called after each settlement's commit, with what the run became and the monotonic time before
        it; it must return at once and not raise."""
        self._on_settled.append(listener)

    async def accept_event(self, draft: EventDraft) -> Accepted:
        """Durable when it returns. Raises ConflictError (`idempotency_conflict`) and UnavailableError."""
        accepted = await self._database.batch(accept_events, draft)
        reached("store.accepted")
        if not accepted.duplicate:
            self._announcer.offer(Consequences(events=(StoredEvent(seq=accepted.seq, event=draft.event),)))
        return accepted

    async def begin_run(self, draft: ChildDraft) -> None:
        """A run with its event, which is not for any other agent. Durable when it returns; begun again, it is one."""
        told = await self._database.write(partial(begin_run, draft=draft, now=self._clock.now()), repeatable=True)
        self._announcer.offer(told)

    async def route(self, decide: Callable[[StoredEvent], Routing], *, catalog: int | None = None) -> Routed:
        """Turns the oldest unrouted events into runs; `decide` is pure and may be called again.

        Nothing is done (`behind`) where there is a newer catalog than `catalog`, by which `decide` goes.
        """
        unit = partial(route, limit=ROUTE_AT_ONCE, decide=decide, now=self._clock.now(), catalog=catalog)
        routed = await self._database.write(unit, repeatable=True)
        reached("store.routed")
        self._announcer.offer(routed.consequences)
        return routed

    async def claim(self, request: ClaimRequest) -> list[ClaimedRun]:
        """Runs that are the process's own from now on; FencedError once the process was declared dead.

        After an UnavailableError nobody knows whether runs were taken: the next request finds those by its token.
        """
        asking = (request.process_id, request.mode)
        request = replace(request, token=self._unanswered.get(asking, request.token))
        try:
            claimed = await self._database.batch(claim, request)
        except UnavailableError:
            self._unanswered[asking] = request.token
            raise
        self._unanswered.pop(asking, None)
        if claimed:
            reached("store.claimed")
        return claimed

    async def settle(self, settlement: Settlement) -> RunStatus:
        """Lets go of a claimed run; returns what it became, which is `cancelled` where that was requested meanwhile.

        Raises FencedError when another owner has the run: nothing of the settlement was written.
        """
        begun = self._clock.monotonic()
        if settlement.pauses:
            settlement = replace(settlement, patience=self._patience)
        settled = await self._database.batch(settle, settlement)
        reached("store.settled")
        self._announcer.offer(settled.consequences)
        if settled.status is None:
            raise FencedError(f"run {settlement.run_id} has another owner than claim {settlement.fencing}")
        for listener in self._on_settled:
            listener(settlement, settled.status, begun)
        return settled.status

    async def resume_paused(self) -> int:
        """Queues again the runs whose pause is over; how many."""
        if not await self._database.read(partial(pausing.anything_due, now=self._clock.now())):
            return 0
        unit = partial(pausing.resume_due, now=self._clock.now(), limit=RESUME_AT_ONCE)
        count, told = await self._database.write(unit)
        self._announcer.offer(told)
        return count

    async def release_paused(self) -> int:
        """A provider is back: the runs that wait for one come back sooner, spread over time; how many."""
        return await self._database.write(partial(pausing.release, now=self._clock.now()))

    async def answer(self, given: Answer, *, tenant: str = "default") -> Clarification:
        """The first answer wins.

        NotFoundError, ConflictError (who answered what), ForbiddenError (who may), InvalidInputError (wrong form, or a
        call that may not be made so).
        """
        if self._judge_edit is not None and changes_call(given.answer):
            question = await self._database.read(partial(answering.find_question, tenant=tenant, given=given))
            await check_edit(question, given, self._judge_edit)
            given = replace(given, clarification_id=question.id)
        clarification, told = await self._database.write(partial(answering.answer, tenant=tenant, given=given))
        self._announcer.offer(told)
        return clarification

    async def request_cancel(self, run_id: str, actor: Actor, *, tenant: str = "default") -> None:
        """After this the run can only end as `cancelled`; NotFoundError, ConflictError for one that ended before."""
        told = await self._database.write(
            partial(answering.request_cancel, tenant=tenant, run_id=run_id, actor=actor, now=self._clock.now())
        )
        self._announcer.offer(told)

    async def sweep_questions(self) -> None:
        """Does what open questions are due for: their reminders, and what is to be once their time is over."""
        swept = question_sweep.SWEPT_AT_ONCE
        while swept >= question_sweep.SWEPT_AT_ONCE:
            swept, told = await self._database.write(partial(question_sweep.sweep, now=self._clock.now()))
            self._announcer.offer(told)

    async def answers_of(self, run_id: str) -> Sequence[Clarification]:
        """Every question of the run, in the order of asking."""
        return await self._database.read(partial(answering.answers_of, run_id=run_id))

    async def clarification(self, clarification_id: str, *, tenant: str = "default") -> Clarification | None:
        unit = partial(answering.load_clarification, tenant=tenant, clarification_id=clarification_id)
        return await self._database.read(unit)

    async def clarifications(self, tenant: str, status: str | None, limit: int = 100) -> Sequence[Clarification]:
        """Newest first."""
        return await self._database.read(
            partial(answering.list_clarifications, tenant=tenant, status=status, limit=limit)
        )
