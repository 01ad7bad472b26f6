"""What openai-python makes of answers that the router may know: ../known_test.go."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai import omit
from world import each, settle


async def see(client, o: dict) -> dict:
    """One request: its raw response, and what the client reads in it."""
    places = {
        "chat/completions": client.chat.completions,
        "completions": client.completions,
        "responses": client.responses,
        "embeddings": client.embeddings,
    }
    raw = await settle(places[o["endpoint"]].with_raw_response.create(**o["body"]))
    seen = {"cache": raw.headers.get("x-helixflow-cache", ""), "age": raw.headers.get("age", "")}
    answer = raw.parse()
    if not o["body"].get("stream"):
        return seen | {"items": [answer.model_dump()], "meaning": MEANINGS[o["endpoint"]](answer)}
    items = [item async for item in each(answer)]
    return seen | {"items": [item.model_dump() for item in items], "meaning": TOGETHER[o["endpoint"]](items)}


async def see_all(client, o: dict, is_async: bool) -> list:
    """The same request, so many times at once."""
    if is_async:
        return await asyncio.gather(*(see(client, o) for _ in range(o["times"])))
    with ThreadPoolExecutor(o["times"]) as threads:
        return list(threads.map(asyncio.run, (see(client, o) for _ in range(o["times"]))))


def of_chat(r) -> dict:
    choice = r.choices[0]
    calls = [[c.id, c.function.name, c.function.arguments] for c in choice.message.tool_calls or []]
    return {
        "id": r.id, "model": r.model, "text": choice.message.content or "", "calls": calls, "finish": choice.finish_reason,
        "usage": r.usage.model_dump(),
    }


def of_completion(r) -> dict:
    return {
        "id": r.id, "model": r.model, "text": r.choices[0].text, "finish": r.choices[0].finish_reason,
        "usage": r.usage.model_dump(),
    }


def chat_of(items: list) -> dict:
    state = ChatCompletionStreamState()
    for item in items:
        state.handle_chunk(item)
    return of_chat(state.get_final_completion())


def completion_of(items: list) -> dict:
    last = items[-1]
    pieces = [item.choices[0] for item in items if item.choices]
    return {
        "id": last.id, "model": last.model, "text": "".join(p.text for p in pieces), "finish": pieces[-1].finish_reason,
        "usage": last.usage.model_dump(),
    }


def response_of(events: list) -> dict:
    """What the events say step by step must be what the last one says at once."""
    state = ResponseStreamState(text_format=omit, input_tools=omit)
    text, arguments = "", ""
    for n, event in enumerate(events):
        assert event.sequence_number == n, events
        state.handle_event(event)
        if event.type == "response.output_text.delta":
            text += event.delta
        if event.type == "response.function_call_arguments.delta":
            arguments += event.delta
    final = events[-1].response
    assert text == final.output_text, events
    assert arguments == "".join(i.arguments for i in final.output if i.type == "function_call"), events
    return final.model_dump()


MEANINGS = {
    "chat/completions": of_chat,
    "completions": of_completion,
    "responses": lambda r: r.model_dump(),
    "embeddings": lambda r: r.model_dump(),
}
TOGETHER = {"chat/completions": chat_of, "completions": completion_of, "responses": response_of}
