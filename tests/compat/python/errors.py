"""Refusals and failures: the exception class of each status, and what the client retries."""

import time

import openai
from world import FAKE, KEY_SMALL, World, fetch, raises, settle, stats, unique


async def refused(w: World, kind, status: int, code, attempt, contacted: int = 0):
    """The attempt raises this, with all of OpenAI's error object, and this many requests reach the engine."""
    before = stats()["received"]
    e = await raises(kind, attempt)
    assert (e.status_code, e.code) == (status, code), (e.status_code, e.code, e.body)
    assert e.type and e.body["message"] and {"param", "type", "code"} <= e.body.keys(), e.body
    assert e.request_id, "no request id"
    assert stats()["received"] - before == contacted, f"{stats()['received'] - before} requests reached the engine"
    return e


async def check_error_400(w: World):
    e = await refused(w, openai.BadRequestError, 400, None, w.ask("hi", extra_body={"max_tokens": "many"}))
    assert e.param == "max_tokens", e.body
    await raises(openai.BadRequestError, w.ask("hi", extra_body={"stream": "yes"}))
    await raises(openai.BadRequestError, w.ask("", messages=[]))  # the engine's own refusal


async def check_error_401(w: World):
    for key in ("sk-wrong", KEY_SMALL[:-1], "x" * 200):
        client = w.new_client(api_key=key, max_retries=2)
        e = await refused(w, openai.AuthenticationError, 401, "invalid_api_key", w.ask("hi", client))
        assert key not in str(e), "the error repeats the key"


async def check_error_401_backend(w: World):
    # The router's credential was refused, not the caller's: no AuthenticationError, and no use in trying again.
    client = w.new_client(max_retries=2)
    attempt = w.ask("sim:error=401; hi", client)
    await refused(w, openai.InternalServerError, 502, "upstream_error", attempt, contacted=1)


async def check_error_403(w: World):
    small = w.new_client(api_key=KEY_SMALL)
    await refused(w, openai.PermissionDeniedError, 403, "model_not_allowed", w.ask("hi", small))
    assert (await w.ask("hi", small, model="fake")).choices[0].message.content


async def check_error_404_model(w: World):
    e = await refused(w, openai.NotFoundError, 404, "model_not_found", w.ask("hi", model="gpt-9"))
    assert "gpt-9" in e.message, e.message
    await refused(w, openai.NotFoundError, 404, "model_not_found", retrieve(w, "no/such:model"))


async def retrieve(w: World, model: str):
    return await settle(w.client.models.retrieve(model))


async def check_error_404_path(w: World):
    async def attempt():
        return await settle(w.client.post("/nothing/here", body={"model": "fake"}, cast_to=object))

    await refused(w, openai.NotFoundError, 404, "unknown_url", attempt())


async def check_error_413(w: World):
    # Refused while the client still sends: it must read the answer, not a reset.
    big = "x" * (2 << 20)
    for _ in range(3):
        await refused(w, openai.APIStatusError, 413, "request_too_large", w.ask(big))
    wrong = w.new_client(api_key="sk-wrong")
    await refused(w, openai.AuthenticationError, 401, "invalid_api_key", w.ask(big, wrong))


async def check_error_409(w: World):
    await refused(w, openai.ConflictError, 409, "simulated_error", w.ask("sim:error=409; hi"), contacted=1)


async def check_error_422(w: World):
    attempt = w.ask("sim:error=422; hi")
    await refused(w, openai.UnprocessableEntityError, 422, "simulated_error", attempt, contacted=1)


async def check_error_429(w: World):
    e = await refused(w, openai.RateLimitError, 429, "rate_limit_exceeded", w.ask("sim:error=429; hi"), contacted=1)
    assert e.type == "requests", e.body


async def check_error_500_retried(w: World):
    client = w.new_client(max_retries=1)
    attempt = w.ask("sim:error=500; hi", client)
    await refused(w, openai.InternalServerError, 500, "simulated_error", attempt, contacted=2)


async def check_error_503_retried(w: World):
    client = w.new_client(max_retries=2)
    attempt = w.ask("sim:error=503,retry_after=20ms; hi", client)
    await refused(w, openai.InternalServerError, 503, "simulated_error", attempt, contacted=3)


async def retried(w: World, status: int):
    """Succeeds at the third try, after twice the time the engine named: more than the client would wait by itself."""
    before, start = stats()["received"], time.monotonic()
    client = w.new_client(max_retries=2)
    r = await w.ask(f"sim:error={status},retry_after=800ms,id={unique()},times=2,tokens=4; hi", client)
    took = time.monotonic() - start
    assert r.usage.completion_tokens == 4 and stats()["received"] - before == 3, stats()
    assert took >= 1.6, f"{took:.2f}s, so Retry-After was not heard"


async def check_retry_after_429(w: World):
    await retried(w, 429)


async def check_retry_after_503(w: World):
    await retried(w, 503)


async def check_retry_count(w: World):
    # The client numbers its tries; the backend can tell them apart.
    seen = len(fetch(FAKE + "/requests"))
    fetch(FAKE + "/queue", "status=503 header=Retry-After-Ms:20 times=2")
    await w.ask("hi", w.new_client(max_retries=2), model="fake")
    requests = fetch(FAKE + "/requests")[seen:]
    counts = [r["header"].get("X-Stainless-Retry-Count") for r in requests]
    assert counts == [["0"], ["1"], ["2"]], counts
    assert not any("Authorization" in r["header"] for r in requests), "the caller's key reached the backend"
