"""Chat completions: unary and streamed, usage, tools, structured output, sizes."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

from pydantic import BaseModel
from world import FAKE, World, collect, fetch, settle

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


async def check_chat(w: World):
    r = await w.ask("sim:tokens=12; hello")
    assert r.object == "chat.completion" and r.id.startswith("chatcmpl-"), r
    choice = r.choices[0]
    assert choice.message.role == "assistant" and choice.message.content, r
    assert choice.finish_reason == "stop", r
    assert r.usage.completion_tokens == 12 and r.usage.prompt_tokens > 0, r.usage
    assert r.usage.total_tokens == r.usage.prompt_tokens + 12, r.usage


async def check_chat_unicode(w: World):
    text = '"quotes" \\ \n\t日本語 🦊👩‍👩‍👧 \u2028 ñ \x7f'
    r = await w.ask(text, model="fake")
    assert r.choices[0].message.content == "w1 w2 w3 ", r
    body = json.loads(fetch(FAKE + "/requests")[-1]["body"])
    assert body["messages"][0]["content"] == text, "the backend got another text"


async def check_chat_large(w: World):
    r = await w.ask("sim:tokens=3; " + "lorem ipsum " * (200 * 1024 // 12))
    assert r.usage.prompt_tokens > 10_000 and r.usage.completion_tokens == 3, r.usage


async def check_chat_stream(w: World):
    prompt = "sim:tokens=20; stream"
    unary = await w.ask(prompt)
    chunks = await collect(await w.ask(prompt, stream=True))
    text = "".join(c.choices[0].delta.content or "" for c in chunks)
    assert text and text == unary.choices[0].message.content, (text, unary)
    assert chunks[0].choices[0].delta.role == "assistant", chunks[0]
    assert chunks[-1].choices[0].finish_reason == "stop", chunks[-1]
    assert len({c.id for c in chunks}) == 1 and len(chunks) >= 20, len(chunks)


async def check_stream_usage(w: World):
    stream = await w.ask("sim:tokens=5; hi", stream=True, stream_options={"include_usage": True})
    chunks = await collect(stream)
    assert [len(c.choices) for c in chunks[-2:]] == [1, 0], chunks[-2:]
    assert all(c.usage is None for c in chunks[:-1]), "usage before the last chunk"
    assert chunks[-1].usage.completion_tokens == 5 and chunks[-1].usage.prompt_tokens > 0, chunks[-1]


async def check_stream_without_usage(w: World):
    chunks = await collect(await w.ask("sim:tokens=5; hi", stream=True))
    assert all(len(c.choices) == 1 and c.usage is None for c in chunks), chunks
    assert chunks[-1].choices[0].finish_reason == "stop", chunks[-1]


async def check_tools(w: World):
    question = [{"role": "user", "content": "sim:tool=get_weather; Paris?"}]
    r = await w.ask("", messages=question, tools=[TOOL])
    assert r.choices[0].finish_reason == "tool_calls", r
    message = r.choices[0].message
    call = message.tool_calls[0]
    arguments = json.loads(call.function.arguments)
    assert call.id and call.function.name == "get_weather" and {"city", "days"} <= arguments.keys(), call
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    again = await w.ask("", messages=[*question, message, result], tools=[TOOL])
    assert again.choices[0].message.content and not again.choices[0].message.tool_calls, again


async def check_tools_stream(w: World):
    stream = await w.ask("hi", tools=[TOOL], tool_choice="required", stream=True)
    name, arguments = "", ""
    chunks = await collect(stream)
    for c in chunks:
        for call in c.choices[0].delta.tool_calls or []:
            name += call.function.name or ""
            arguments += call.function.arguments or ""
    assert name == "get_weather" and {"city", "days"} <= json.loads(arguments).keys(), (name, arguments)
    assert chunks[-1].choices[0].finish_reason == "tool_calls", chunks[-1]


class Person(BaseModel):
    name: str
    age: int
    tags: list[str]


async def check_structured(w: World):
    messages = [{"role": "user", "content": "who?"}]
    r = await settle(
        w.client.chat.completions.parse(model="gpt-4o-mini", messages=messages, response_format=Person)
    )
    assert isinstance(r.choices[0].message.parsed, Person), r
    r = await settle(w.client.responses.parse(model="gpt-4o-mini", input="who?", text_format=Person))
    assert isinstance(r.output_parsed, Person), r


async def check_parallel(w: World):
    def one(i):
        return w.ask(f"sim:tokens={i + 1},ttft=50ms; number {i}")

    if w.is_async:
        answers = await asyncio.gather(*(one(i) for i in range(20)))
    else:
        with ThreadPoolExecutor(20) as threads:
            answers = list(threads.map(asyncio.run, [one(i) for i in range(20)]))
    assert [a.usage.completion_tokens for a in answers] == list(range(1, 21)), answers
