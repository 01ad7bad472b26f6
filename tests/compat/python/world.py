"""What the clients' modules share."""

import asyncio
import inspect

from pydantic import BaseModel

# What the frameworks lack, whose subject is text.
TEXT_ALONE = dict.fromkeys(
    ["models", "model", "moderate", "post", "speak", "transcribe", "transcribe-stream", "translate", "realtime", "respond-socket"],
    "it has chat models, completions and embeddings alone",
)

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}


class Person(BaseModel):
    name: str
    age: int
    tags: list[str]


async def settle(value):
    """What an async client returns is awaited, what another returns is there already."""
    return await value if inspect.isawaitable(value) else value


async def each(stream):
    """The items of a stream of either kind."""
    if hasattr(stream, "__aiter__"):
        async for item in stream:
            yield item
    else:
        for item in stream:
            yield item


async def leave(work, milliseconds: int):
    """The work, given up after so long as an application does it."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([task], timeout=milliseconds / 1000)
    if not done:
        task.cancel()
    return await task


def given(**options) -> dict:
    """What the order leaves open is left to the client."""
    return {name: value for name, value in options.items() if value}


def failure(e) -> dict:
    """What an exception of openai-python says."""
    response = getattr(e, "response", None)
    return {
        "status": getattr(e, "status_code", 0),
        "code": str(getattr(e, "code", None) or ""),
        "type": getattr(e, "type", None) or "",
        "param": getattr(e, "param", None) or "",
        "request_id": getattr(e, "request_id", None) or "",
        "retry_after": response.headers.get("retry-after", "") if response is not None else "",
    }
