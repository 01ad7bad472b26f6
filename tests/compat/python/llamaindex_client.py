"""LlamaIndex with its classes for APIs like OpenAI's, by their asynchronous methods."""

import asyncio
import json

import httpx
import openai
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike, OpenAILikeResponses
from world import TEXT_ALONE, Person, failure, given, leave

def get_weather(city: str, days: int) -> str:
    """The weather of a city"""
    return "sunny"


TOOLS = [FunctionTool.from_defaults(get_weather)]


def settings(o: dict) -> dict:
    return {"model": o["model"], "api_key": o["key"], "api_base": o["base_url"], "max_retries": o["retries"], "timeout": 20}


def chat_model(o: dict, **options) -> OpenAILike:
    options = {"is_chat_model": True, "is_function_calling_model": True, "should_use_structured_outputs": True} | options
    return OpenAILike(**settings(o), **options, additional_kwargs=given(extra_body=o["extra"]))


def responses_model(o: dict) -> OpenAILikeResponses:
    return OpenAILikeResponses(**settings(o))


def user(o: dict) -> list:
    return [ChatMessage(role="user", content=o["prompt"])]


def take(answer: dict, r):
    raw = r.raw
    answer["text"], answer["finish"] = r.message.content, raw.choices[0].finish_reason
    answer["request_id"] = raw._request_id
    answer["input_tokens"], answer["output_tokens"] = raw.usage.prompt_tokens, raw.usage.completion_tokens


def take_calls(model, r) -> list:
    calls = model.get_tool_calls_from_response(r)
    return [{"id": c.tool_id, "name": c.tool_name, "arguments": json.dumps(c.tool_kwargs)} for c in calls]


class Client:
    PACKAGES = ["llama-index-llms-openai-like", "llama-index-core", "openai"]
    ERRORS = (openai.OpenAIError, httpx.HTTPError)
    LACKS = TEXT_ALONE | {"x-should-retry": "it tries again by itself where the client below it does not"}
    BLIND: dict = {}
    failure = staticmethod(failure)

    async def do_chat(self, o: dict, answer: dict):
        work = chat_model(o).achat(user(o))
        take(answer, await (leave(work, o["leave_ms"]) if o["leave_ms"] else work))

    async def do_stream(self, o: dict, answer: dict):
        options = given(stream_options={"include_usage": True} if o["usage"] else None)
        stream = await chat_model(o).astream_chat(user(o), **options)
        task = asyncio.create_task(self.read(stream, o, answer))
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    async def read(self, stream, o: dict, answer: dict):
        r = None
        answer |= {"text": "", "items": 0, "usage_at": []}
        async for r in stream:
            if r.raw.usage:
                answer["usage_at"].append(answer["items"])
                answer["output_tokens"] = r.raw.usage.completion_tokens
            answer["items"] += 1
            answer["text"] += r.delta or ""
            if r.raw.choices:
                answer["finish"] = r.raw.choices[0].finish_reason
            if answer["items"] == o["leave_after"]:
                # Closing the outermost generator leaves those inside to the collector.
                asyncio.current_task().cancel()
        return r

    async def do_parallel(self, o: dict, answer: dict):
        model = chat_model(o)
        work = (model.achat([ChatMessage(role="user", content=prompt)]) for prompt in o["prompts"])
        answer["texts"] = [r.message.content for r in await asyncio.gather(*work)]

    async def do_tools(self, o: dict, answer: dict):
        model = chat_model(o)
        r = await model.achat_with_tools(TOOLS, chat_history=user(o))
        answer["calls"] = take_calls(model, r)
        result = ChatMessage(role="tool", content="sunny", additional_kwargs={"tool_call_id": answer["calls"][0]["id"]})
        r = await model.achat_with_tools(TOOLS, chat_history=[*user(o), r.message, result])
        answer["text"] = r.message.content

    async def do_tools_stream(self, o: dict, answer: dict):
        model = chat_model(o)
        stream = await model.astream_chat_with_tools(TOOLS, chat_history=user(o), tool_required=True)
        answer["calls"] = take_calls(model, await self.read(stream, o, answer))

    async def do_structured(self, o: dict, answer: dict):
        person = await chat_model(o).astructured_predict(Person, PromptTemplate(o["prompt"]))
        answer["parsed"] = person.model_dump()

    async def do_structured_responses(self, o: dict, answer: dict):
        person = await responses_model(o).astructured_predict(Person, PromptTemplate(o["prompt"]))
        answer["parsed"] = person.model_dump()

    async def do_image(self, o: dict, answer: dict):
        message = ChatMessage(role="user", blocks=[TextBlock(text=o["prompt"]), ImageBlock(url=o["image"])])
        take(answer, await chat_model(o).achat([message]))

    async def do_embed(self, o: dict, answer: dict):
        settings = {"api_key": o["key"], "api_base": o["base_url"], "max_retries": o["retries"]}
        options = given(dimensions=o["dimensions"])
        if o["encoding"] == "float":
            options["additional_kwargs"] = {"encoding_format": "float"}
        model = OpenAILikeEmbedding(model_name=o["model"], **settings, **options)
        answer["vectors"] = await model.aget_text_embedding_batch(o["prompts"])

    async def do_respond(self, o: dict, answer: dict):
        r = await responses_model(o).achat(user(o))
        answer["text"], answer["finish"] = r.message.content, r.raw.status
        answer["input_tokens"], answer["output_tokens"] = r.raw.usage.input_tokens, r.raw.usage.output_tokens

    async def do_respond_stream(self, o: dict, answer: dict):
        answer |= {"text": "", "events": []}
        async for r in await responses_model(o).astream_chat(user(o)):
            answer["events"].append(r.raw.type)
            answer["text"] += r.delta or ""
            if r.raw.type == "response.completed":
                answer["finish"], answer["output_tokens"] = r.raw.response.status, r.raw.response.usage.output_tokens

    async def do_complete(self, o: dict, answer: dict):
        r = await chat_model(o, is_chat_model=False, **given(max_tokens=o["max_tokens"])).acomplete(o["prompt"])
        answer["text"], answer["finish"] = r.text, r.raw.choices[0].finish_reason
        answer["output_tokens"] = r.raw.usage.completion_tokens

    async def do_complete_stream(self, o: dict, answer: dict):
        await self.read(await chat_model(o, is_chat_model=False).astream_complete(o["prompt"]), o, answer)
