// LangChain.js with its package for OpenAI.

import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { ChatOpenAI, OpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { Person, leaving, textAlone, weather } from "./world.mjs";

export const packages = ["@langchain/openai", "@langchain/core", "openai"];

export const lacks = {
  ...textAlone("it has chat models, completions and embeddings alone"),
  "retry-after": "it waits by a schedule of its own",
  "x-should-retry": "it goes by the status alone",
  "retry-count": "it does not number its tries",
};
export const blind = {
  "request_id": "messages have no headers",
  "events": "events become chunks of a message",
  "usage_at": "usage is merged into the message",
};

export const failure = (e) => ({
  class: e.name === "Error" ? e.constructor.name : e.name,
  status: e.status, code: e.code ?? "", type: e.type ?? "", param: e.param ?? "",
  request_id: e.requestID ?? "", retry_after: e.headers?.get("retry-after") ?? "",
});

const settings = (o) => ({
  model: o.model, apiKey: o.key, maxRetries: o.retries, timeout: 20_000, configuration: { baseURL: o.base_url },
});

const chatModel = (o, more = {}) =>
  new ChatOpenAI({ ...settings(o), streamUsage: o.usage, modelKwargs: o.extra ?? {}, ...more });

const take = (answer, m) =>
  Object.assign(answer, {
    text: m.text, finish: m.response_metadata.finish_reason ?? m.response_metadata.status,
    input_tokens: m.usage_metadata?.input_tokens, output_tokens: m.usage_metadata?.output_tokens,
  });

const takeCalls = (m) => m.tool_calls.map((c) => ({ id: c.id, name: c.name, arguments: JSON.stringify(c.args) }));

async function chat(o, answer) {
  take(answer, await chatModel(o).invoke(o.prompt, { signal: leaving(o) }));
}

/** Reads a stream, and puts its chunks together as an application would. */
async function read(stream, o, answer) {
  let whole;
  Object.assign(answer, { text: "", items: 0 });
  for await (const chunk of stream) {
    whole = whole ? whole.concat(chunk) : chunk;
    answer.text = whole.text;
    if (chunk.text && ++answer.items === o.leave_after) return whole;
  }
  take(answer, whole);
  return whole;
}

async function stream(o, answer) {
  await read(await chatModel(o).stream(o.prompt), o, answer);
}

async function parallel(o, answer) {
  answer.texts = (await chatModel(o).batch(o.prompts)).map((m) => m.text);
}

const tool = { type: "function", function: weather };

async function callTool(o, answer) {
  const model = chatModel(o).bindTools([tool]);
  const question = new HumanMessage(o.prompt);
  const m = await model.invoke([question]);
  answer.calls = takeCalls(m);
  const result = new ToolMessage({ content: "sunny", tool_call_id: m.tool_calls[0].id });
  answer.text = (await model.invoke([question, m, result])).text;
}

async function callToolStream(o, answer) {
  const model = chatModel(o).bindTools([tool], { tool_choice: "required" });
  answer.calls = takeCalls(await read(await model.stream(o.prompt), o, answer));
}

async function structured(o, answer, more = {}) {
  const model = chatModel(o, more).withStructuredOutput(Person, { name: "person", method: "jsonSchema" });
  answer.parsed = await model.invoke(o.prompt);
}

async function image(o, answer) {
  const content = [{ type: "text", text: o.prompt }, { type: "image_url", image_url: { url: o.image } }];
  answer.text = (await chatModel(o).invoke([new HumanMessage({ content })])).text;
}

async function embed(o, answer) {
  const more = { ...(o.encoding === "float" ? { encodingFormat: "float" } : {}), dimensions: o.dimensions || undefined };
  answer.vectors = await new OpenAIEmbeddings({ ...settings(o), ...more }).embedDocuments(o.prompts);
}

const responses = { useResponsesApi: true };

async function complete(o, answer, more = {}) {
  const model = new OpenAI({ ...settings(o), maxTokens: o.max_tokens || undefined, ...more });
  const { generations: [[generation]], llmOutput } = await model.generate([o.prompt]);
  Object.assign(answer, {
    text: generation.text, finish: generation.generationInfo.finishReason ?? generation.generationInfo.finish_reason,
    output_tokens: llmOutput.tokenUsage.completionTokens,
  });
}

export const verbs = {
  chat, stream, parallel, structured, image, embed, complete,
  "tools": callTool,
  "tools-stream": callToolStream,
  "structured-responses": (o, answer) => structured(o, answer, responses),
  "respond": async (o, answer) => take(answer, await chatModel(o, responses).invoke(o.prompt)),
  "respond-stream": async (o, answer) => read(await chatModel(o, responses).stream(o.prompt), o, answer),
  "complete-stream": (o, answer) => complete(o, answer, { streaming: true }),
};
