"""openai-python, its client and its async client."""

import asyncio
import base64
from concurrent.futures import ThreadPoolExecutor

import known
import openai
from websockets.exceptions import WebSocketException
from world import TOOL, Person, each, failure, given, leave, settle


def user(content) -> list:
    return [{"role": "user", "content": content}]


def take_usage(answer: dict, usage):
    answer["input_tokens"], answer["output_tokens"] = usage.prompt_tokens, usage.completion_tokens


class Client:
    PACKAGES = ["openai"]
    ERRORS = (openai.OpenAIError, WebSocketException)
    LACKS: dict = {}
    BLIND: dict = {}
    failure = staticmethod(failure)

    def __init__(self, is_async: bool):
        self.is_async = is_async
        self.open: dict = {}

    def by(self, o: dict):
        """The client of an order, one for all with the same settings."""
        settings = (o["base_url"], o["key"], o["retries"])
        if settings not in self.open:
            kind = openai.AsyncOpenAI if self.is_async else openai.OpenAI
            self.open[settings] = kind(base_url=settings[0], api_key=settings[1], max_retries=settings[2], timeout=20)
        return self.open[settings]

    async def create(self, o: dict, **options):
        """One chat completion; with stream=True the stream."""
        options = {"model": o["model"], "messages": user(o["prompt"])} | options
        work = self.by(o).chat.completions.create(**options, **given(extra_body=o["extra"]))
        return await settle(work)

    async def do_chat(self, o: dict, answer: dict):
        if (after := o["leave_ms"]) and self.is_async:
            r = await leave(self.create(o), after)
        elif after:
            # The thread that waits cannot be interrupted: its patience ends.
            r = await self.create(o, timeout=after / 1000)
        else:
            r = await self.create(o)
        answer["text"], answer["finish"] = r.choices[0].message.content, r.choices[0].finish_reason
        answer["request_id"] = r._request_id
        take_usage(answer, r.usage)

    async def do_stream(self, o: dict, answer: dict):
        stream = await self.create(o, stream=True, **given(stream_options={"include_usage": True} if o["usage"] else None))
        await self.read(stream, o, answer, lambda choice: choice.delta.content)

    async def read(self, stream, o: dict, answer: dict, text):
        answer |= {"text": "", "items": 0, "usage_at": []}
        async for item in each(stream):
            if item.usage:
                answer["usage_at"].append(answer["items"])
                take_usage(answer, item.usage)
            answer["items"] += 1
            if item.choices:
                answer["text"] += text(item.choices[0]) or ""
                answer["finish"] = item.choices[0].finish_reason or ""
            if answer["items"] == o["leave_after"]:
                await settle(stream.close())
                return

    async def do_parallel(self, o: dict, answer: dict):
        async def one(prompt):
            return (await self.create(o, messages=user(prompt))).choices[0].message.content

        if self.is_async:
            answer["texts"] = await asyncio.gather(*map(one, o["prompts"]))
        else:
            with ThreadPoolExecutor(len(o["prompts"])) as threads:
                answer["texts"] = list(threads.map(asyncio.run, map(one, o["prompts"])))

    async def do_tools(self, o: dict, answer: dict):
        r = await self.create(o, tools=[TOOL])
        message = r.choices[0].message
        answer["calls"] = [
            {"id": c.id, "name": c.function.name, "arguments": c.function.arguments} for c in message.tool_calls
        ]
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
        r = await self.create(o, messages=[*user(o["prompt"]), message, result], tools=[TOOL])
        answer["text"] = r.choices[0].message.content

    async def do_tools_stream(self, o: dict, answer: dict):
        calls: dict = {}
        async for item in each(await self.create(o, tools=[TOOL], tool_choice="required", stream=True)):
            for piece in item.choices[0].delta.tool_calls or []:
                call = calls.setdefault(piece.index, {"id": "", "name": "", "arguments": ""})
                call["id"] += piece.id or ""
                call["name"] += piece.function.name or ""
                call["arguments"] += piece.function.arguments or ""
            answer["finish"] = item.choices[0].finish_reason
        answer["calls"] = list(calls.values())

    async def do_structured(self, o: dict, answer: dict):
        parse = self.by(o).chat.completions.parse
        r = await settle(parse(model=o["model"], messages=user(o["prompt"]), response_format=Person))
        answer["parsed"] = r.choices[0].message.parsed.model_dump()

    async def do_structured_responses(self, o: dict, answer: dict):
        r = await settle(self.by(o).responses.parse(model=o["model"], input=o["prompt"], text_format=Person))
        answer["parsed"] = r.output_parsed.model_dump()

    async def do_image(self, o: dict, answer: dict):
        content = [{"type": "text", "text": o["prompt"]}, {"type": "image_url", "image_url": {"url": o["image"]}}]
        r = await self.create(o, messages=user(content))
        answer["text"] = r.choices[0].message.content

    async def do_embed(self, o: dict, answer: dict):
        options = given(dimensions=o["dimensions"])
        if o["encoding"] == "float":
            options["encoding_format"] = "float"  # the client's own is base64, which it decodes
        r = await settle(self.by(o).embeddings.create(model=o["model"], input=o["prompts"], **options))
        answer["vectors"] = [d.embedding for d in r.data]
        answer["input_tokens"] = r.usage.prompt_tokens

    async def do_speak(self, o: dict, answer: dict):
        r = await settle(self.by(o).audio.speech.create(model=o["model"], voice="alloy", input=o["prompt"]))
        answer["audio"] = base64.b64encode(await settle(r.aread()) if self.is_async else r.read()).decode()

    def file(self, o: dict) -> tuple:
        return ("sound.mp3", base64.b64decode(o["audio"]))

    async def do_transcribe(self, o: dict, answer: dict):
        answer["text"] = (await settle(self.by(o).audio.transcriptions.create(model=o["model"], file=self.file(o)))).text

    async def do_transcribe_stream(self, o: dict, answer: dict):
        create = self.by(o).audio.transcriptions.create
        answer |= {"text": "", "events": []}
        async for event in each(await settle(create(model=o["model"], file=self.file(o), stream=True))):
            answer["events"].append(event.type)
            if event.type == "transcript.text.delta":
                answer["text"] += event.delta

    async def do_translate(self, o: dict, answer: dict):
        answer["text"] = (await settle(self.by(o).audio.translations.create(model=o["model"], file=self.file(o)))).text

    def take_response(self, answer: dict, r):
        answer["text"], answer["finish"] = r.output_text, r.status
        answer["input_tokens"], answer["output_tokens"] = r.usage.input_tokens, r.usage.output_tokens

    async def do_respond(self, o: dict, answer: dict):
        self.take_response(answer, await settle(self.by(o).responses.create(model=o["model"], input=o["prompt"])))

    async def do_respond_stream(self, o: dict, answer: dict):
        stream = await settle(self.by(o).responses.create(model=o["model"], input=o["prompt"], stream=True))
        answer |= {"text": "", "events": []}
        async for event in each(stream):
            answer["events"].append(event.type)
            if event.type == "response.output_text.delta":
                answer["text"] += event.delta
            if event.type == "response.completed":
                assert event.response.output_text == answer["text"], event
                self.take_response(answer, event.response)

    async def do_realtime(self, o: dict, answer: dict):
        connection = await settle(self.by(o).realtime.connect(model=o["model"]).enter())
        answer |= {"text": "", "events": []}
        try:
            await settle(connection.response.create(response={"instructions": o["prompt"]}))
            async for event in each(connection):
                answer["events"].append(event.type)
                if event.type == "response.output_text.delta":
                    answer["text"] += event.delta
                if event.type == "response.done":
                    return
        finally:
            await settle(connection.close())

    async def do_respond_socket(self, o: dict, answer: dict):
        connection = await settle(self.by(o).responses.connect().enter())
        try:
            await settle(connection.response.create(model=o["model"], input=o["prompt"]))
            async for event in each(connection):
                if event.type == "response.completed":
                    self.take_response(answer, event.response)
                    return
        finally:
            await settle(connection.close())

    async def complete(self, o: dict, **options):
        options |= given(max_tokens=o["max_tokens"])
        return await settle(self.by(o).completions.create(model=o["model"], prompt=o["prompt"], **options))

    async def do_complete(self, o: dict, answer: dict):
        r = await self.complete(o)
        answer["text"], answer["finish"] = r.choices[0].text, r.choices[0].finish_reason
        take_usage(answer, r.usage)

    async def do_complete_stream(self, o: dict, answer: dict):
        await self.read(await self.complete(o, stream=True), o, answer, lambda choice: choice.text)

    async def do_models(self, o: dict, answer: dict):
        answer["ids"] = [m.id async for m in each(await settle(self.by(o).models.list()))]

    async def do_model(self, o: dict, answer: dict):
        answer["ids"] = [(await settle(self.by(o).models.retrieve(o["model"]))).id]

    async def do_moderate(self, o: dict, answer: dict):
        r = await settle(self.by(o).moderations.create(model=o["model"], input=o["prompts"]))
        answer["flagged"] = [verdict.flagged for verdict in r.results]

    async def do_known(self, o: dict, answer: dict):
        answer["seen"] = await known.see_all(self.by(o), o, self.is_async)

    async def do_post(self, o: dict, answer: dict):
        await settle(self.by(o).post("/" + o["prompt"], body={}, cast_to=object))
