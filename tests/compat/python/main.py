"""A driver: does the orders on stdin with one client, as ../doc.go describes."""

import asyncio
import importlib
import json
import sys
import traceback
from importlib.metadata import version

CLIENTS = {  # the module, and what its Client takes
    "openai": ("openai_sdk", False),
    "openai-async": ("openai_sdk", True),
    "langchain": ("langchain_client",),
    "llamaindex": ("llamaindex_client",),
}

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
