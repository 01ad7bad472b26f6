"""A driver: does the orders on stdin with one client, as ../doc.go describes."""

import asyncio
import importlib
import inspect
import json
import sys
import traceback
from importlib.metadata import version

CLIENTS = {  # the module, and what its Client takes
    "openai": ("openai_sdk", False),
    "openai-async": ("openai_sdk", True),
}

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


async def do(client, order: dict) -> dict:
    answer: dict = {}
    try:
        await getattr(client, "do_" + order["do"].replace("-", "_"))(order, answer)
    except client.ERRORS as e:
        answer["error"] = {"class": type(e).__name__, "message": str(e)} | client.failure(e)
    except asyncio.CancelledError as e:
        answer["error"] = {"class": type(e).__name__, "message": "cancelled"}
    except Exception:
        answer["bug"] = traceback.format_exc()
    return answer


def about(client) -> dict:
    return {"versions": {p: version(p) for p in client.PACKAGES}, "lacks": client.LACKS, "blind": client.BLIND}


async def main(name: str):
    module, *arguments = CLIENTS[name]
    client = importlib.import_module(module).Client(*arguments)
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        answer = about(client) if order["do"] == "about" else await do(client, order)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
