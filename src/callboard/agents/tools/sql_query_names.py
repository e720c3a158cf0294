"""Which functions and relations a query may not name, though it only seems to read; pure.

Sources: PostgreSQL's and SQLite's lists of functions. A function of a project's own cannot be known here: it is the
read-only transaction that keeps it from writing.
"""

from __future__ import annotations

import re

_REFUSED_PREFIXES = (
    "pg_",
    "lo_",
    "lowrite",
    "dblink",
    "binary_upgrade_",
    "query_to_xml",
    "table_to_xml",
    "cursor_to_xml",
    "schema_to_xml",
    "database_to_xml",
    "sqlite_",
    "sqlite3_",
    "fts3_",
    "file_fdw",
    "postgres_fdw",
)
"""Files, other connections, other sessions, large objects; and functions that run or read what a text names."""
_REFUSED = frozenset(
    {
        "loread",
        "nextval",
        "setval",
        "set_config",
        "current_setting",
        "txid_current",
        "ts_stat",
        "ts_rewrite",
        "crosstab",
        "crosstab2",
        "crosstab3",
        "crosstab4",
        "crosstabn",
        "connectby",
        "xpath_table",
        "load_extension",
        "readfile",
        "writefile",
        "lsdir",
        "lsmode",
        "edit",
        "eval",
        "zeroblob",
        "randomblob",
        "copy",
        "http",
        "http_get",
        "http_post",
        "plpy",
        "system",
        "shell",
    }
)
_HARMLESS = frozenset(
    {
        "pg_typeof",
        "pg_size_pretty",
        "pg_relation_size",
        "pg_table_size",
        "pg_total_relation_size",
        "pg_get_viewdef",
        "pg_table_is_visible",
        "sqlite_version",
    }
)
_STRICT_HARMLESS = frozenset({"pg_typeof", "pg_size_pretty", "sqlite_version"})
"""With a list of tables only those that name no table."""
_SECRET_RELATIONS = re.compile(
    r"pg_(authid|shadow|user_mappings?|largeobject|hba_file_rules|ident_file_mappings|file_settings|config|settings"
    r"|stat_activity|stat_ssl|stat_statements|subscription|foreign_server|db_role_setting|statistic|stats)"
)


def function_refusal(name: str, dialect: str, *, strict: bool) -> str | None:
    """Why the function may not be called, None where it may."""
    folded = name.casefold()
    if folded in (_STRICT_HARMLESS if strict else _HARMLESS):
        return None
    if dialect == "sqlite" and folded.startswith("pragma_") and not strict:
        return None  # the authorizer knows which of them only describe
    if folded in _REFUSED or folded.startswith((*_REFUSED_PREFIXES, "pragma_")):
        return f"the function {name} does more than read a table, or reads what it should not"
    return None


def relation_refusal(name: str) -> str | None:
    """Why the relation may not be read, None where it may."""
    if _SECRET_RELATIONS.fullmatch(name.casefold()):
        return f"{name} tells of the server, not of the data in it"
    return None
