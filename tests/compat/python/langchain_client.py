"""LangChain with its package for OpenAI, by its asynchronous methods."""

import json

import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from world import TEXT_ALONE, TOOL, Person, failure, given, leave

def settings(o: dict) -> dict:
    return {"model": o["model"], "api_key": o["key"], "base_url": o["base_url"], "max_retries": o["retries"], "timeout": 20}


def chat_model(o: dict, **options) -> ChatOpenAI:
    options |= given(extra_body=o["extra"], stream_usage=o["usage"])
    return ChatOpenAI(**settings(o), include_response_headers=True, **options)


def take(answer: dict, message):
    meta, usage = message.response_metadata, message.usage_metadata or {}
    answer["text"], answer["finish"] = message.text, meta.get("finish_reason") or meta.get("status", "")
    answer["request_id"] = meta.get("headers", {}).get("x-request-id", "")
    answer["input_tokens"], answer["output_tokens"] = usage.get("input_tokens", 0), usage.get("output_tokens", 0)


def take_calls(message) -> list:
    return [{"id": c["id"], "name": c["name"], "arguments": json.dumps(c["args"])} for c in message.tool_calls]


class Client:
    PACKAGES = ["langchain-openai", "langchain-core", "openai"]
    ERRORS = (openai.OpenAIError, ValueError)  # the latter for events of the Responses API that are errors
    LACKS = TEXT_ALONE
    BLIND = {
        "events": "events become chunks of a message",
        "usage_at": "usage is merged into the message",
    }
    failure = staticmethod(failure)

    async def do_chat(self, o: dict, answer: dict):
        work = chat_model(o).ainvoke(o["prompt"])
        take(answer, await (leave(work, o["leave_ms"]) if o["leave_ms"] else work))

    async def do_stream(self, o: dict, answer: dict):
        await self.read(chat_model(o).astream(o["prompt"]), o, answer)

    async def read(self, stream, o: dict, answer: dict):
        """Puts the chunks together as an application would."""
        whole = None
        answer |= {"text": "", "items": 0}
        async for chunk in stream:
            whole = chunk if whole is None else whole + chunk
            answer["text"] = whole.text
            answer["items"] += bool(chunk.text)
            if o["leave_after"] and answer["items"] == o["leave_after"]:
                await stream.aclose()
                return whole
        take(answer, whole)
        return whole

    async def do_parallel(self, o: dict, answer: dict):
        answer["texts"] = [m.text for m in await chat_model(o).abatch(o["prompts"])]

    async def do_tools(self, o: dict, answer: dict):
        model, question = chat_model(o).bind_tools([TOOL]), HumanMessage(o["prompt"])
        message = await model.ainvoke([question])
        answer["calls"] = take_calls(message)
        result = ToolMessage("sunny", tool_call_id=answer["calls"][0]["id"])
        answer["text"] = (await model.ainvoke([question, message, result])).text

    async def do_tools_stream(self, o: dict, answer: dict):
        model = chat_model(o).bind_tools([TOOL], tool_choice="required")
        answer["calls"] = take_calls(await self.read(model.astream(o["prompt"]), o, answer))

    async def do_structured(self, o: dict, answer: dict, **options):
        model = chat_model(o, **options).with_structured_output(Person, method="json_schema")
        answer["parsed"] = (await model.ainvoke(o["prompt"])).model_dump()

    async def do_structured_responses(self, o: dict, answer: dict):
        await self.do_structured(o, answer, use_responses_api=True)

    async def do_image(self, o: dict, answer: dict):
        content = [{"type": "text", "text": o["prompt"]}, {"type": "image_url", "image_url": {"url": o["image"]}}]
        take(answer, await chat_model(o).ainvoke([HumanMessage(content)]))

    async def do_embed(self, o: dict, answer: dict):
        # Without the check it sends text; with it, the tokens of a model of OpenAI's.
        model = OpenAIEmbeddings(**settings(o), check_embedding_ctx_length=False, **given(dimensions=o["dimensions"]))
        options = {"encoding_format": "float"} if o["encoding"] == "float" else {}
        answer["vectors"] = await model.aembed_documents(o["prompts"], **options)

    async def do_respond(self, o: dict, answer: dict):
        take(answer, await chat_model(o, use_responses_api=True).ainvoke(o["prompt"]))

    async def do_respond_stream(self, o: dict, answer: dict):
        await self.read(chat_model(o, use_responses_api=True).astream(o["prompt"]), o, answer)

    async def do_complete(self, o: dict, answer: dict, **options):
        r = await OpenAI(**settings(o), **given(max_tokens=o["max_tokens"]), **options).agenerate([o["prompt"]])
        generation = r.generations[0][0]
        answer["text"], answer["finish"] = generation.text, generation.generation_info["finish_reason"]
        answer["output_tokens"] = (r.llm_output or {}).get("token_usage", {}).get("completion_tokens", 0)

    async def do_complete_stream(self, o: dict, answer: dict):
        await self.do_complete(o, answer, streaming=True)
