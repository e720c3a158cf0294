"""Model-written Python in Monty, an interpreter of a subset of the language that reaches nothing outside itself.

Runs inside a child process (`child_main`), which the interpreter's own worker process is a child of: whatever happens
to one of them, the program that asked goes on.
"""

from __future__ import annotations

import resource
from typing import Any

import pydantic_monty

from callboard.agents.tools.run_python_inside import shown_value

_OVERHEAD_BYTES = 1024 * 1024 * 1024
"""Address space of the child and the worker beside what the code may use: programs, libraries, stacks."""
_TIME_LIMIT = "TimeoutError: feed time limit exceeded"
"""How the interpreter says that `max_feed_duration_secs` has passed."""
_GRACE_SECONDS = 1.0
_MAX_RECURSION = 500


def run(
    *, code: str, inputs: dict[str, Any], seconds: float, memory_bytes: int, max_output_bytes: int
) -> dict[str, str | None]:
    """`{"printed": …, "value": …, "error": …}`; one of the last two is null, both where the code ends in no value."""
    limit = memory_bytes + _OVERHEAD_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    printed = pydantic_monty.CollectString(max_bytes=max_output_bytes)
    limits = pydantic_monty.ResourceLimits(
        max_feed_duration_secs=seconds,
        max_memory=memory_bytes,
        max_recursion_depth=_MAX_RECURSION,
        max_suspensions=1000,
        max_total_sleep_secs=seconds,
    )
    try:
        with (
            pydantic_monty.Monty(max_processes=1, request_timeout=seconds + _GRACE_SECONDS) as pool,
            pool.checkout(script_name="code.py", limits=limits) as session,
        ):
            value = session.feed_run(code, inputs=inputs, print_callback=printed)
    except (pydantic_monty.MontyRuntimeError, pydantic_monty.MontySyntaxError) as error:
        return {"printed": printed.output, "value": None, "error": _told(error, seconds)}
    except pydantic_monty.MontyCrashedError as error:
        why = f"it took longer than {seconds:g} s" if error.timed_out else "it used more than it may"
        return {"printed": printed.output, "value": None, "error": f"the interpreter was ended: {why}"}
    except pydantic_monty.MontyError as error:
        return {"printed": printed.output, "value": None, "error": str(error)}
    return {"printed": printed.output, "value": shown_value(value), "error": None}


def _told(error: pydantic_monty.MontyRuntimeError | pydantic_monty.MontySyntaxError, seconds: float) -> str:
    told = str(error.display("traceback"))
    return f"TimeoutError: the code took longer than {seconds:g} s" if _TIME_LIMIT in told else told
