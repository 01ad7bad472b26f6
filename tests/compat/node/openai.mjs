// openai-node.

import { connect } from "node:net";
import OpenAI, { toFile } from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import { ResponsesWS } from "openai/resources/responses/ws";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { seeAll } from "./known.mjs";
import { Person, leaving, user, weather } from "./world.mjs";

export const packages = ["openai"];
export const lacks = {};
export const blind = {};

export function failure(e) {
  if (!(e instanceof OpenAI.OpenAIError)) return undefined;
  return {
    status: e.status, code: e.code ?? "", type: e.type ?? "", param: e.param ?? "",
    request_id: e.requestID ?? "", retry_after: e.headers?.get("retry-after") ?? "",
  };
}

const clients = new Map();

/** The client of an order, one for all with the same settings. */
function by(o) {
  const settings = { baseURL: o.base_url, apiKey: o.key, maxRetries: o.retries, timeout: 20_000 };
  const name = JSON.stringify(settings);
  if (!clients.has(name)) clients.set(name, new OpenAI(settings));
  return clients.get(name);
}

/** One chat completion; with stream: true the stream. */
const create = (o, options = {}) =>
  by(o).chat.completions.create({ model: o.model, messages: user(o.prompt), ...o.extra, ...options }, { signal: leaving(o) });

const takeUsage = (answer, usage) =>
  Object.assign(answer, { input_tokens: usage.prompt_tokens, output_tokens: usage.completion_tokens });

const takeCalls = (message) =>
  message.tool_calls.map((c) => ({ id: c.id, name: c.function.name, arguments: c.function.arguments }));

async function chat(o, answer) {
  const r = await create(o);
  Object.assign(answer, {
    text: r.choices[0].message.content, finish: r.choices[0].finish_reason, request_id: r._request_id,
  });
  takeUsage(answer, r.usage);
}

async function read(stream, o, answer, text) {
  Object.assign(answer, { text: "", items: 0, usage_at: [] });
  for await (const item of stream) {
    if (item.usage) {
      answer.usage_at.push(answer.items);
      takeUsage(answer, item.usage);
    }
    answer.items++;
    answer.text += item.choices[0] ? text(item.choices[0]) ?? "" : "";
    answer.finish = item.choices[0]?.finish_reason ?? answer.finish;
    if (answer.items === o.leave_after) break; // which aborts the request
  }
}

async function stream(o, answer) {
  const options = o.usage ? { stream_options: { include_usage: true } } : {};
  await read(await create(o, { stream: true, ...options }), o, answer, (choice) => choice.delta.content);
}

async function parallel(o, answer) {
  const answers = await Promise.all(o.prompts.map((prompt) => create(o, { messages: user(prompt) })));
  answer.texts = answers.map((r) => r.choices[0].message.content);
}

const tools = [{ type: "function", function: weather }];

async function callTool(o, answer) {
  const { message } = (await create(o, { tools })).choices[0];
  answer.calls = takeCalls(message);
  const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "sunny" };
  const r = await create(o, { messages: [...user(o.prompt), message, result], tools });
  answer.text = r.choices[0].message.content;
}

async function callToolStream(o, answer) {
  const runner = by(o).chat.completions.stream({
    model: o.model, messages: user(o.prompt), tools, tool_choice: "required",
  });
  const [choice] = (await runner.finalChatCompletion()).choices;
  Object.assign(answer, { calls: takeCalls(choice.message), finish: choice.finish_reason });
}

async function structured(o, answer) {
  const r = await by(o).chat.completions.parse({
    model: o.model, messages: user(o.prompt), response_format: zodResponseFormat(Person, "person"),
  });
  answer.parsed = r.choices[0].message.parsed;
}

async function structuredResponses(o, answer) {
  const text = { format: zodTextFormat(Person, "person") };
  answer.parsed = (await by(o).responses.parse({ model: o.model, input: o.prompt, text })).output_parsed;
}

async function image(o, answer) {
  const content = [{ type: "text", text: o.prompt }, { type: "image_url", image_url: { url: o.image } }];
  answer.text = (await create(o, { messages: user(content) })).choices[0].message.content;
}

async function embed(o, answer) {
  // The client's own encoding is base64, which it decodes.
  const encoding = o.encoding === "float" ? { encoding_format: "float" } : {};
  const short = o.dimensions ? { dimensions: o.dimensions } : {};
  const r = await by(o).embeddings.create({ model: o.model, input: o.prompts, ...encoding, ...short });
  Object.assign(answer, { vectors: r.data.map((d) => d.embedding), input_tokens: r.usage.prompt_tokens });
}

async function speak(o, answer) {
  const r = await by(o).audio.speech.create({ model: o.model, voice: "alloy", input: o.prompt });
  answer.audio = Buffer.from(await r.arrayBuffer()).toString("base64");
}

const file = (o) => toFile(Buffer.from(o.audio, "base64"), "sound.mp3");

async function transcribe(o, answer) {
  answer.text = (await by(o).audio.transcriptions.create({ model: o.model, file: await file(o) })).text;
}

async function transcribeStream(o, answer) {
  Object.assign(answer, { text: "", events: [] });
  for await (const event of await by(o).audio.transcriptions.create({ model: o.model, file: await file(o), stream: true })) {
    answer.events.push(event.type);
    if (event.type === "transcript.text.delta") answer.text += event.delta;
  }
}

async function translate(o, answer) {
  answer.text = (await by(o).audio.translations.create({ model: o.model, file: await file(o) })).text;
}

const takeResponse = (answer, r) =>
  Object.assign(answer, {
    text: r.output[0].content[0].text, finish: r.status,
    input_tokens: r.usage.input_tokens, output_tokens: r.usage.output_tokens,
  });

async function respond(o, answer) {
  takeResponse(answer, await by(o).responses.create({ model: o.model, input: o.prompt }));
}

async function respondStream(o, answer) {
  Object.assign(answer, { text: "", events: [] });
  for await (const event of await by(o).responses.create({ model: o.model, input: o.prompt, stream: true })) {
    answer.events.push(event.type);
    if (event.type === "response.output_text.delta") answer.text += event.delta;
    if (event.type === "response.completed") takeResponse(answer, event.response);
  }
}

/** A session: it ends with the response, with an error, or with the socket. */
async function realtime(o, answer) {
  Object.assign(answer, { text: "", events: [] });
  // It speaks to wss: addresses alone. The connection is plain all the same, as if TLS ended in between.
  const { hostname: host, port } = new URL(o.base_url);
  const options = { createConnection: () => connect({ host, port }) };
  const connection = new OpenAIRealtimeWS({ model: o.model, options }, by(o));
  try {
    await new Promise((resolve, reject) => {
      connection.socket.on("open", () =>
        connection.send({ type: "response.create", response: { instructions: o.prompt } }));
      connection.socket.on("close", (status) => reject(new OpenAI.OpenAIError(`closed: ${status}`)));
      connection.on("error", reject);
      connection.on("event", (event) => {
        answer.events.push(event.type);
        if (event.type === "response.output_text.delta") answer.text += event.delta;
        if (event.type === "response.done") resolve();
      });
    });
  } finally {
    connection.close();
  }
}

async function respondSocket(o, answer) {
  const connection = new ResponsesWS(by(o));
  connection.send({ type: "response.create", model: o.model, input: o.prompt });
  for await (const { type, message, error } of connection) {
    if (type === "error") throw error;
    if (type === "message" && message.type === "response.completed") {
      takeResponse(answer, message.response);
      break;
    }
  }
  connection.close();
}

const completion = (o, options = {}) =>
  by(o).completions.create({ model: o.model, prompt: o.prompt, ...(o.max_tokens ? { max_tokens: o.max_tokens } : {}), ...options });

async function complete(o, answer) {
  const r = await completion(o);
  Object.assign(answer, { text: r.choices[0].text, finish: r.choices[0].finish_reason });
  takeUsage(answer, r.usage);
}

async function completeStream(o, answer) {
  await read(await completion(o, { stream: true }), o, answer, (choice) => choice.text);
}

async function models(o, answer) {
  answer.ids = [];
  for await (const m of by(o).models.list()) answer.ids.push(m.id);
}

async function model(o, answer) {
  answer.ids = [(await by(o).models.retrieve(o.model)).id];
}

async function moderate(o, answer) {
  const r = await by(o).moderations.create({ model: o.model, input: o.prompts });
  answer.flagged = r.results.map((verdict) => verdict.flagged);
}

async function known(o, answer) {
  answer.seen = await seeAll(by(o), o);
}

const post = (o) => by(o).post("/" + o.prompt, { body: {} });

export const verbs = {
  chat, stream, parallel, image, embed, respond, complete, models, model, moderate, post, structured, speak, transcribe, translate, realtime, known,
  "tools": callTool,
  "tools-stream": callToolStream,
  "structured-responses": structuredResponses,
  "transcribe-stream": transcribeStream,
  "respond-socket": respondSocket,
  "respond-stream": respondStream,
  "complete-stream": completeStream,
};
