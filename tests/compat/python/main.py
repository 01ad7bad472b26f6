"""openai-python against a router: every check with the client and with the async client.

Prints a line per check: NAME ok|FAIL DETAIL. See ../doc.go.
"""

import asyncio
import sys
import time

import chat
import endpoints
import errors
import faults
from world import World

MODULES = (chat, endpoints, errors, faults)

# A check that takes longer hangs.
PATIENCE = 25.0


def name_of(check) -> str:
    return check.__name__.removeprefix("check_").replace("_", "-")


async def run(world: World, prefix: str) -> bool:
    good = True
    for module in MODULES:
        for attribute, check in list(vars(module).items()):
            if not attribute.startswith("check_"):
                continue
            start = time.monotonic()
            try:
                detail = await asyncio.wait_for(check(world), PATIENCE)
                verdict = "ok"
            except Exception as e:  # whatever it is, it is this check's result
                good = False
                verdict, detail = "FAIL", f"{type(e).__name__}: {e} ({where(e)})"
            took = f"{(time.monotonic() - start) * 1000:.0f}ms"
            text = " ".join(f"{took} {detail or ''}".split())
            print(f"{prefix}{name_of(check)} {verdict} {text[:600]}", flush=True)
    return good


def where(e: BaseException) -> str:
    """The line of ours that failed."""
    line = "?"
    tb = e.__traceback__
    while tb:
        file = tb.tb_frame.f_code.co_filename
        if "site-packages" not in file:
            line = f"{file.rsplit('/', 1)[-1]}:{tb.tb_lineno}"
        tb = tb.tb_next
    return line


async def main() -> int:
    good = True
    for prefix, is_async in (("sync/", False), ("async/", True)):
        world = World(is_async)
        good = await run(world, prefix) and good
        await world.close()
    return 0 if good else 1


sys.exit(asyncio.run(main()))
