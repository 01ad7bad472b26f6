"""What the checks share: the clients, the backends' counters, and one way to call both kinds of client."""

import asyncio
import inspect
import json
import os
import time
import urllib.request
import uuid

import openai

MODEL = "gpt-4o-mini"
BASE_URL = os.environ["COMPAT_BASE_URL"]
KEY = os.environ["COMPAT_KEY"]
KEY_SMALL = os.environ["COMPAT_KEY_SMALL"]
SIM = os.environ["COMPAT_SIM"]
FAKE = os.environ["COMPAT_FAKE"]


class World:
    """One kind of client, and what it talks to."""

    def __init__(self, is_async: bool):
        self.is_async = is_async
        self._open = []
        self.client = self.new_client()

    def new_client(self, **options):
        kind = openai.AsyncOpenAI if self.is_async else openai.OpenAI
        client = kind(**{"base_url": BASE_URL, "api_key": KEY, "timeout": 20, "max_retries": 0} | options)
        self._open.append(client)
        return client

    async def close(self):
        for client in self._open:
            await settle(client.close())

    async def ask(self, content: str, client=None, **options):
        """One chat completion; with stream=True the stream."""
        options = {"model": MODEL, "messages": [{"role": "user", "content": content}]} | options
        return await settle((client or self.client).chat.completions.create(**options))


async def settle(value):
    """What an async client returns is awaited, what the other returns is there already."""
    return await value if inspect.isawaitable(value) else value


async def each(stream):
    """The items of a stream of either kind."""
    if hasattr(stream, "__aiter__"):
        async for item in stream:
            yield item
    else:
        for item in stream:
            yield item


async def collect(stream) -> list:
    return [item async for item in each(stream)]


async def raises(kind, attempt):
    """The exception of this kind, exactly, that the attempt must raise."""
    try:
        result = await attempt
    except Exception as e:
        assert type(e) is kind, f"{type(e).__name__}, want {kind.__name__}: {e}"
        return e
    raise AssertionError(f"no {kind.__name__} but {result!r}")


def fetch(url: str, body: str | None = None):
    data = None if body is None else body.encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=data), timeout=5) as answer:
        text = answer.read()
        return json.loads(text) if text else None


def stats() -> dict:
    """What the simulated engine has counted."""
    return fetch(SIM + "/sim/stats")


def unique() -> str:
    return uuid.uuid4().hex


async def until(what: str, condition, seconds: float = 5.0) -> float:
    """Polls; the milliseconds it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, f"not within {seconds}s: {what}"
        await asyncio.sleep(0.005)
    return (time.monotonic() - start) * 1000
