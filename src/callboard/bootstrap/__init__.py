"""The composition root: the only place that names concrete adapters.

`core` wires the bus and the store, `workshop`, `pools` and `orchestration` those who work, `slack_desk` and `desk` what
faces people. `system` ties all of it together in one process, `distributed` one role of it in each. Nothing is imported
here: each process loads what it runs.
"""
