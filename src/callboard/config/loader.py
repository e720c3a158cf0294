"""Reads YAML as configuration: bounded, unambiguous, and with a place for every value.

The composed graph is built here from the C parser's events, so that limits hold while parsing: a bomb is refused at its
first event over a limit, before anything walks it (RELIABILITY.md, finding 14). Scalars follow the core schema of
YAML 1.2 and are stricter where people are surprised: `no`, `010` and `12:30:00` are text.
"""

from __future__ import annotations

import codecs
import math
import re
from dataclasses import dataclass, field

import yaml

from callboard.config.problems import Path, Problem, shown

MAX_BYTES = 256 * 1024
MAX_DEPTH = 50
MAX_NODES = 20_000
MAX_ALIASES = 100

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_TAB = re.compile(r"^[ ]*\t", re.MULTILINE)
_NUMERIC = frozenset("+-.0123456789")
_LARGEST = 2**63


class Node:
    """A value with its place (line and column from 1); `size` and `height` count what an alias repeats."""

    __slots__ = ("column", "entries", "height", "items", "line", "size", "value")

    def __init__(self, line: int, column: int, value: object = None) -> None:
        self.line, self.column, self.value = line, column, value
        self.items: list[Node] | None = None
        self.entries: dict[str, tuple[Node, Node]] | None = None
        self.size = self.height = 1

    def plain(self) -> object:
        """The value without places: text, numbers, true, false, None, lists and dictionaries."""
        if self.items is not None:
            return [item.plain() for item in self.items]
        if self.entries is not None:
            return {key: value.plain() for key, (_, value) in self.entries.items()}
        return self.value

    def locate(self, path: Path, at_key: bool = False) -> tuple[int, int]:
        """Where a path stands; where the path leads nowhere, its last part that exists."""
        node, place = self, (self.line, self.column)
        for index, part in enumerate(path):
            if node.entries is not None and part in node.entries:
                key, node = node.entries[str(part)]
                last = index == len(path) - 1
                place = (key.line, key.column) if at_key and last else (node.line, node.column)
            elif node.items is not None and isinstance(part, int) and part < len(node.items):
                node = node.items[part]
                place = (node.line, node.column)
            else:
                break
        return place


class RefusedError(Exception):
    """The first thing that makes a text unreadable; nothing after it can be judged."""

    def __init__(self, line: int, column: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.line, self.column, self.message, self.hint = line, column, message, hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The ways out that depend on what a file is meant to be; these are an agent file's."""

    empty: str = "write an agent, or delete the file to remove it"
    second_document: str = "one agent a file: put it into a file of its own"


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlDocument:
    """A file's text and its graph, with the problems that did not keep it from being read (doubled keys, tags)."""

    text: str
    root: Node | None
    problems: tuple[Problem, ...]


def read_yaml(data: bytes, file: str, advice: Advice | None = None) -> YamlDocument:
    """Never raises for any content: what is wrong is in `problems`, and `root` is None where nothing can be read."""
    text = ""
    try:
        text = decode(data)
        composer = _Composer(file, advice or Advice())
        root = composer.compose(text)
    except RefusedError as refused:
        problem = Problem(
            file=file, line=refused.line, column=refused.column, message=refused.message, hint=refused.hint
        )
        return YamlDocument(text=text, root=None, problems=(problem,))
    return YamlDocument(text=text, root=root, problems=tuple(composer.problems))


def decode(data: bytes) -> str:
    """UTF-8 text without byte order mark; raises RefusedError for anything that is no such text."""
    if len(data) > MAX_BYTES:
        raise RefusedError(1, 1, f"the file has more than {MAX_BYTES // 1024} KiB", "move data out of the file")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise RefusedError(1, 1, "the file is in UTF-16", "save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _place(data[: error.start].decode("utf-8", "replace"))
        hint = "save it as UTF-8"
        raise RefusedError(line, column, f"byte 0x{data[error.start]:02x} is no UTF-8", hint) from None
    control = _CONTROL.search(text)
    if control:
        line, column = _place(text[: control.start()])
        code = ord(control.group())
        raise RefusedError(
            line, column, f"control character 0x{code:02x}: this is no text file", "remove it; save as UTF-8"
        )
    return text


def _place(before: str) -> tuple[int, int]:
    line = before.count("\n") + 1
    return line, len(before) - (before.rfind("\n") + 1) + 1


@dataclass(slots=True)
class _Composer:
    file: str
    advice: Advice
    problems: list[Problem] = field(default_factory=list)
    _anchors: dict[str, Node | None] = field(default_factory=dict)
    _nodes: int = 0
    _aliases: int = 0

    def compose(self, text: str) -> Node:
        parser = yaml.CBaseLoader(text.encode())
        try:
            return self._document(parser)
        except yaml.MarkedYAMLError as error:
            raise _syntax(error, text) from None
        except yaml.YAMLError as error:
            raise RefusedError(1, 1, f"no YAML: {shown(error)}") from None
        finally:
            parser.dispose()

    def _document(self, parser: yaml.CBaseLoader) -> Node:
        _next(parser)
        first = _next(parser)
        if isinstance(first, yaml.StreamEndEvent):
            raise RefusedError(1, 1, "the file is empty", self.advice.empty)
        root = self._node(parser, _next(parser), 1)
        _next(parser)
        end = _next(parser)
        if not isinstance(end, yaml.StreamEndEvent):
            line, column = _mark(end)
            raise RefusedError(line, column, "a second document", self.advice.second_document)
        return root

    def _node(self, parser: yaml.CBaseLoader, event: yaml.Event, depth: int) -> Node:
        kind = type(event)
        if kind is yaml.ScalarEvent and depth <= MAX_DEPTH and self._nodes < MAX_NODES:
            self._nodes += 1
            return self._scalar_node(event)  # type: ignore[arg-type]  # its class was just compared, which is faster
        line, column = _mark(event)
        if depth > MAX_DEPTH:
            raise RefusedError(line, column, f"nested deeper than {MAX_DEPTH} levels", "make it flatter")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, line, column, depth)
        self._count(1, line, column)
        if not isinstance(event, yaml.CollectionStartEvent):
            raise RefusedError(line, column, "no value here")
        self._refuse_tag(event.tag, line, column)
        node = Node(line, column)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if kind is yaml.SequenceStartEvent:
            node.items = []
            while not isinstance(item := _next(parser), yaml.SequenceEndEvent):
                child = self._node(parser, item, depth + 1)
                node.items.append(child)
                _grow(node, child)
        else:
            self._mapping(parser, node, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _scalar_node(self, event: yaml.ScalarEvent) -> Node:
        line, column = _mark(event)
        if event.tag is not None:
            self._refuse_tag(event.tag, line, column)
        node = Node(line, column, event.value if event.style else self._scalar(event.value, line, column))
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _refuse_tag(self, tag: str | None, line: int, column: int) -> None:
        if tag is not None:
            self._add(line, column, f"tag {shown(tag)} is not allowed", "remove it; put text in quotes")

    def _mapping(self, parser: yaml.CBaseLoader, node: Node, depth: int) -> None:
        node.entries = {}
        while not isinstance(event := _next(parser), yaml.MappingEndEvent):
            key = self._node(parser, event, depth + 1)
            value = self._node(parser, _next(parser), depth + 1)
            _grow(node, key)
            _grow(node, value)
            name = key.value
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and not event.style:
                self._add(key.line, key.column, "merge keys (<<) are not supported", "write the keys out")
            elif not isinstance(name, str) or key.items is not None or key.entries is not None:
                self._add(key.line, key.column, "a key must be text", "put it in quotes")
            elif name in node.entries:
                first = node.entries[name][0]
                self._add(
                    key.line,
                    key.column,
                    f"'{shown(name)}' stands here twice",
                    f"first in line {first.line}: remove one",
                )
            else:
                node.entries[name] = (key, value)

    def _alias(self, event: yaml.AliasEvent, line: int, column: int, depth: int) -> Node:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise RefusedError(line, column, f"more than {MAX_ALIASES} aliases", "write the values out")
        if event.anchor not in self._anchors:
            raise RefusedError(
                line, column, f"alias *{shown(event.anchor)} has no anchor before it", "write it in quotes"
            )
        target = self._anchors[event.anchor]
        if target is None:
            raise RefusedError(line, column, f"alias *{shown(event.anchor)} contains itself", "write the value out")
        self._count(target.size, line, column)
        if depth + target.height - 1 > MAX_DEPTH:
            raise RefusedError(line, column, f"nested deeper than {MAX_DEPTH} levels", "make it flatter")
        return target

    def _count(self, nodes: int, line: int, column: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise RefusedError(
                line, column, f"more than {MAX_NODES} values, repeated ones counted each time", "make it smaller"
            )

    def _scalar(self, text: str, line: int, column: int) -> object:
        if text in _WORDS:
            return _WORDS[text]
        if text[0] not in _NUMERIC:
            return text
        if _INTEGER.fullmatch(text):
            number = int(text, 0) if text[:2] in ("0x", "0o") else int(text) if len(text) <= 20 else _LARGEST
            if -_LARGEST <= number < _LARGEST:
                return number
            self._add(line, column, "a number of more than 64 bits", "put it in quotes")
        elif _FLOAT.fullmatch(text):
            value = float(text)
            if math.isfinite(value):
                return value
            self._add(line, column, f"'{shown(text)}' is too large for a number", "put it in quotes")
        elif _NOT_FINITE.fullmatch(text):
            self._add(line, column, f"'{text}' is no finite number", "write a number, or put it in quotes")
        return text

    def _add(self, line: int, column: int, message: str, hint: str) -> None:
        self.problems.append(Problem(file=self.file, line=line, column=column, message=message, hint=hint))


def _grow(node: Node, child: Node) -> None:
    node.size += child.size
    if child.height >= node.height:
        node.height = child.height + 1


def _next(parser: yaml.CBaseLoader) -> yaml.Event:
    return parser.get_event() or yaml.StreamEndEvent()


def _mark(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _syntax(error: yaml.MarkedYAMLError, text: str) -> RefusedError:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    message = shown(error.problem or error.context or "no YAML")
    tab = _TAB.search(text)
    if tab and _place(text[: tab.start()])[0] <= line:
        line, column = _place(text[: tab.end() - 1])
        return RefusedError(line, column, "a tab at the beginning of the line", "indent with spaces")
    if "could not find expected ':'" in message or "mapping values" in message:
        hint = "put text that contains : or # in quotes, and a space after each key's colon"
    elif "cannot start any token" in message:
        hint = "put the text in quotes"
    else:
        hint = "check indentation, quotes and brackets in this line and the one before"
    return RefusedError(line, column, f"no YAML: {message}", hint)
