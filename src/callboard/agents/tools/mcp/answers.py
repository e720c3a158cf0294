"""What a server's result says, as text for a model; images and files become artifacts with a reference."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping

from pydantic import JsonValue

from callboard.agents.tools.tool import Artifacts, ToolError

_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp", "audio/wav": "wav"}
_EMPTY = "(an empty answer)"


async def answer_text(tool: str, result: Mapping[str, JsonValue], artifacts: Artifacts) -> str:
    """The parts in their order, structured content as JSON unless a part says the same.

    Raises ToolError with the server's text where the result says that it is an error.
    """
    content = result.get("content")
    parts = content if isinstance(content, list) else []
    texts = [await _part(tool, number, part, artifacts) for number, part in enumerate(parts, 1)]
    structured = result.get("structuredContent")
    if structured is not None and not any(_same(text, structured) for text in texts):
        texts.append(json.dumps(structured, ensure_ascii=False))
    said = "\n".join(text for text in texts if text) or _EMPTY
    if result.get("isError") is True:
        raise ToolError(said)
    return said


async def _part(tool: str, number: int, part: JsonValue, artifacts: Artifacts) -> str:
    if not isinstance(part, dict):
        return ""
    match part.get("type"):
        case "text":
            return str(part.get("text", ""))
        case "image" | "audio":
            return await _kept(f"{tool}-{number}", part.get("mimeType"), part.get("data"), artifacts)
        case "resource_link":
            title = part.get("title") or part.get("name") or ""
            return f"[resource {str(part.get('uri', ''))[:2000]}: {str(title)[:200]}]"
        case "resource":
            return await _resource(tool, number, part.get("resource"), artifacts)
        case other:
            return f"[a part of type {str(other)[:40]!r}, which cannot be shown]"


async def _resource(tool: str, number: int, resource: JsonValue, artifacts: Artifacts) -> str:
    if not isinstance(resource, dict):
        return ""
    uri = str(resource.get("uri", ""))[:2000]
    if isinstance(text := resource.get("text"), str):
        return f"[resource {uri}]\n{text}"
    kept = await _kept(f"{tool}-{number}", resource.get("mimeType"), resource.get("blob"), artifacts)
    return f"[resource {uri}] {kept}"


async def _kept(name: str, media_type: JsonValue, data: JsonValue, artifacts: Artifacts) -> str:
    kind = media_type if isinstance(media_type, str) and media_type.isprintable() else ""
    kind = kind[:100] or "application/octet-stream"
    try:
        body = base64.b64decode(str(data), validate=True)
    except (binascii.Error, ValueError):
        return f"[{kind}, damaged: it is not base64]"
    try:
        reference = await artifacts.keep(f"{name}.{_EXTENSIONS.get(kind, 'bin')}", kind, body)
    except ToolError as error:
        return f"[{kind}, {len(body)} bytes, not kept: {error.message}]"
    return f"[{kind}, {len(body)} bytes, kept as {reference}]"


def _same(text: str, structured: JsonValue) -> bool:
    """Servers say it twice: as JSON, or as the one value that there is."""
    if isinstance(structured, dict) and list(structured.values()) == [text]:
        return True
    try:
        return bool(json.loads(text) == structured)
    except (ValueError, RecursionError):
        return False
