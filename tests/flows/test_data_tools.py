"""A question about data, from the database over a calculation to a chart that people can fetch."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from tests.support.system import Callboard

ANALYST = """
name: analyst
agent_type: analyst
execution_mode: autonomous
llm_config:
  provider: scripted
  model_id: script
  script:
    - when: sales
      call: {{tool: sql_query, args: {{sql: "SELECT month, amount FROM sales ORDER BY 1"}}}}
      say: "{{result}}"
    - when: wipe
      call: {{tool: sql_query, args: {{sql: "DELETE FROM sales"}}}}
      say: "{{result}}"
    - when: mean
      call: {{tool: run_python, args: {{code: "sum(amounts) / len(amounts)", inputs: {{amounts: [3, 5, 10]}}}}}}
      say: "{{result}}"
    - when: draw
      call:
        tool: chart
        args: {{kind: bar, title: Sales, x: [Jan, Feb, Mar], series: [{{name: amount, values: [3, 5, 10]}}]}}
      say: "{{result}}"
tools:
  - {{name: sql_query, with: {{database: "sqlite:///{path}", tables: [sales]}}}}
  - run_python
  - chart
"""


@pytest.mark.slow
async def test_an_analyst_asks_calculates_and_draws(callboard: Callboard, tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as shop:
        shop.execute("CREATE TABLE sales (month text, amount int)")
        shop.execute("INSERT INTO sales VALUES ('01', 3), ('02', 5), ('03', 10)")
    await callboard.write("analyst", ANALYST.format(path=path))

    asked = await callboard.ended(await callboard.invoke("analyst", "sales please"))
    assert asked["output"] == 'columns: ["month", "amount"]\n["01",3]\n["02",5]\n["03",10]\n3 rows'

    wiped = await callboard.ended(await callboard.invoke("analyst", "wipe it"))
    assert wiped["output"] == "Error: refused: only SELECT, WITH … SELECT and VALUES are run here"
    with contextlib.closing(sqlite3.connect(path)) as shop:
        assert shop.execute("SELECT count(*) FROM sales").fetchone() == (3,)

    mean = await callboard.ended(await callboard.invoke("analyst", "mean"))
    assert mean["output"] == "value: 6.0"

    task = await callboard.invoke("analyst", "draw it")
    drawn = await callboard.ended(task)
    listed = (await callboard.call("GET", f"/api/v1/runs/{task}/artifacts")).json()["artifacts"]
    assert [each["name"] for each in listed] == ["Sales.png", "Sales.json"]
    assert all(f"artifact:{each['id']}" in drawn["output"] for each in listed)
    image = await callboard.call("GET", f"/api/v1/artifacts/{listed[0]['id']}")
    assert image.headers["content-type"] == "image/png"
    assert image.content.startswith(b"\x89PNG")
