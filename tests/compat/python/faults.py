"""Ends before the end: the client leaves, the backend breaks off, falls silent, or fails midway."""

import asyncio
import time

import openai
from world import World, each, raises, settle, stats, until


async def aborted(w: World, before: dict) -> str:
    left = before["aborted"] + 1
    took = await until("the engine sees that the client left", lambda: stats()["aborted"] == left, seconds=1)
    assert stats()["running"] == 0, stats()
    return f"the engine knew after {took:.0f}ms"


async def check_cancel_prefill(w: World):
    before = stats()
    if w.is_async:
        task = asyncio.ensure_future(w.ask("sim:ttft=20s; slow"))
        await until("the request reaches the engine", lambda: stats()["running"] == 1)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), task
    else:
        # The thread that waits cannot be interrupted: its patience ends.
        await raises(openai.APITimeoutError, w.ask("sim:ttft=20s; slow", timeout=0.5))
    return await aborted(w, before)


async def check_cancel_stream(w: World):
    before = stats()
    stream = await w.ask("sim:ttft=10ms,gap=20ms,tokens=1000; slow", stream=True)
    seen = 0
    async for _ in each(stream):
        seen += 1
        if seen == 3:
            break
    await settle(stream.close())
    return await aborted(w, before)


async def broken(w: World, stream) -> tuple[list, Exception]:
    """What came before the exception that must come."""
    items = []
    try:
        async for item in each(stream):
            items.append(item)
    except Exception as e:
        return items, e
    raise AssertionError(f"ended like a good answer after {len(items)} items")


async def check_cut_unary(w: World):
    e = await raises(openai.InternalServerError, w.ask("fake:close@body+40; hi", model="fake"))
    assert (e.status_code, e.code) == (502, "upstream_error"), e.body


async def cut_stream(w: World, script: str, code: str = "upstream_interrupted"):
    items, e = await broken(w, await w.ask(f"fake:{script}; hi", model="fake", stream=True))
    text = "".join(c.choices[0].delta.content or "" for c in items)
    assert text == "w1 w2 ", f"{text!r} came before {e!r}"
    assert type(e) is openai.APIError and e.code == code and e.message, repr(e)


async def check_cut_stream_clean(w: World):
    await cut_stream(w, "close@chunk:2")


async def check_cut_stream_reset(w: World):
    await cut_stream(w, "reset@chunk:2+9")


async def check_cut_responses_stream(w: World):
    stream = await settle(w.client.responses.create(model="fake", input="fake:close@chunk:3; hi", stream=True))
    items, e = await broken(w, stream)
    kinds = [i.type for i in items]
    assert "response.completed" not in kinds and "response.output_text.delta" in kinds, kinds
    return f"{kinds[-1]}, then {e!r}"


async def check_error_in_stream(w: World):
    items, e = await broken(w, await w.ask("sim:error_after=3,tokens=9; hi", stream=True))
    assert len(items) >= 3 and type(e) is openai.APIError and e.code == "simulated_error", (len(items), repr(e))


async def check_stall_before_answer(w: World):
    e = await raises(openai.InternalServerError, w.ask("fake:stall@head; hi", model="fake"))
    assert (e.status_code, e.code) == (504, "upstream_timeout"), e.body


async def check_stall_in_stream(w: World):
    start = time.monotonic()
    await cut_stream(w, "stall@chunk:2", code="upstream_timeout")
    took = time.monotonic() - start
    assert 0.9 <= took < 5, f"{took:.2f}s, want the idle timeout of 1s"
