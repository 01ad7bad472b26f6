// The AI SDK with its provider for APIs like OpenAI's.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import {
  APICallError, Output, RetryError, embedMany, generateText, jsonSchema, streamText, tool,
} from "ai";
import { Person, leaving, textAlone, user, weather } from "./world.mjs";

export const packages = ["@ai-sdk/openai-compatible", "ai"];

const chatOnly = "its provider has chat, completions and embeddings alone";

export const lacks = {
  ...textAlone(chatOnly),
  "respond": chatOnly, "respond-stream": chatOnly, "structured-responses": chatOnly,
  "encoding": "it asks for vectors as numbers",
  "x-should-retry": "it goes by the status alone",
  "retry-count": "it does not number its tries",
};
export const blind = {
  "usage_at": "usage is of the whole stream",
};

export function failure(e) {
  if (RetryError.isInstance(e)) return { ...failure(e.lastError), class: e.constructor.name };
  if (e.name === "AbortError" || e.name === "TimeoutError") return { class: e.name };
  const { error } = e.data ?? {};
  return {
    status: e.statusCode, code: error?.code ?? e.code ?? "", type: error?.type ?? e.type ?? "", param: error?.param ?? "",
    request_id: e.responseHeaders?.["x-request-id"] ?? "", retry_after: e.responseHeaders?.["retry-after"] ?? "",
  };
}

const provider = (o) =>
  createOpenAICompatible({
    name: "router", baseURL: o.base_url, apiKey: o.key, includeUsage: o.usage, supportsStructuredOutputs: true,
  });

const options = (o) => ({
  model: provider(o)(o.model), messages: user(o.prompt), maxRetries: o.retries, abortSignal: leaving(o),
  providerOptions: { router: o.extra ?? {} },
});

const take = (answer, r) =>
  Object.assign(answer, {
    text: r.text, finish: r.rawFinishReason ?? r.finishReason, request_id: r.response.headers["x-request-id"],
    input_tokens: r.usage.inputTokens, output_tokens: r.usage.outputTokens,
  });

async function chat(o, answer) {
  take(answer, await generateText(options(o)));
}

/** Reads a stream; an error in it is one of its parts. */
async function read(o, answer, more) {
  const away = new AbortController();
  const r = streamText({ ...options(o), ...more, abortSignal: away.signal, onError() {} });
  Object.assign(answer, { text: "", items: 0, calls: [] });
  for await (const part of r.fullStream) {
    if (part.type === "error") throw part.error;
    if (part.type === "text-delta") {
      answer.text += part.text;
      answer.items++;
      if (answer.items === o.leave_after) {
        away.abort();
        return;
      }
    }
    if (part.type === "tool-call") answer.calls.push(call(part));
    if (part.type === "finish") {
      answer.finish = part.rawFinishReason ?? part.finishReason;
      answer.output_tokens = part.totalUsage.outputTokens;
    }
  }
}

async function parallel(o, answer) {
  const answers = await Promise.all(o.prompts.map((prompt) => generateText({ ...options(o), messages: user(prompt) })));
  answer.texts = answers.map((r) => r.text);
}

const tools = {
  [weather.name]: tool({ description: weather.description, inputSchema: jsonSchema(weather.parameters) }),
};

const call = (c) => ({ id: c.toolCallId, name: c.toolName, arguments: JSON.stringify(c.input) });

async function callTool(o, answer) {
  const r = await generateText({ ...options(o), tools });
  answer.calls = r.toolCalls.map(call);
  const { toolCallId, toolName } = r.toolCalls[0];
  const result = { type: "tool-result", toolCallId, toolName, output: { type: "text", value: "sunny" } };
  const messages = [...user(o.prompt), ...r.response.messages, { role: "tool", content: [result] }];
  answer.text = (await generateText({ ...options(o), messages, tools })).text;
}

async function structured(o, answer) {
  answer.parsed = (await generateText({ ...options(o), output: Output.object({ schema: Person }) })).output;
}

async function image(o, answer) {
  const content = [{ type: "text", text: o.prompt }, { type: "image", image: o.image }];
  answer.text = (await generateText({ ...options(o), messages: user(content) })).text;
}

async function embed(o, answer) {
  const r = await embedMany({
    model: provider(o).embeddingModel(o.model), values: o.prompts, maxRetries: o.retries,
    providerOptions: { router: o.dimensions ? { dimensions: o.dimensions } : {} },
  });
  answer.vectors = r.embeddings;
}

const old = (o) => ({ model: provider(o).completionModel(o.model), maxOutputTokens: o.max_tokens || undefined });

export const verbs = {
  chat, parallel, structured, image, embed,
  "stream": (o, answer) => read(o, answer, {}),
  "tools": callTool,
  "tools-stream": (o, answer) => read(o, answer, { tools, toolChoice: "required" }),
  "complete": async (o, answer) => take(answer, await generateText({ ...options(o), ...old(o) })),
  "complete-stream": (o, answer) => read(o, answer, old(o)),
};
