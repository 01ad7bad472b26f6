// What openai-node makes of answers that the router may know: ../known_test.go.

import { ChatCompletionStream } from "openai/lib/ChatCompletionStream";
import { ResponseStream } from "openai/lib/responses/ResponseStream";

const ofChat = (r) => ({
  id: r.id, model: r.model, text: r.choices[0].message.content ?? "", finish: r.choices[0].finish_reason, usage: r.usage,
  calls: (r.choices[0].message.tool_calls ?? []).map((c) => [c.id, c.function.name, c.function.arguments]),
});

const ofCompletion = (r) => ({
  id: r.id, model: r.model, text: r.choices[0].text, finish: r.choices[0].finish_reason, usage: r.usage,
});

const meanings = {
  "chat/completions": ofChat,
  "completions": ofCompletion,
  "responses": (r) => r,
  "embeddings": (r) => r,
};

/** Items as the client's helpers take them. */
const lines = (items) => new Blob(items.map((item) => JSON.stringify(item) + "\n")).stream();

// What the client's own helpers put together, which throw of what does not fit.
const together = {
  "chat/completions": async (items) => {
    const runner = ChatCompletionStream.fromReadableStream(lines(items));
    return { ...ofChat(await runner.finalChatCompletion()), usage: items.at(-1).usage };
  },
  "completions": (items) => {
    const pieces = items.filter((item) => item.choices.length).map((item) => item.choices[0]);
    return {
      id: items.at(-1).id, model: items.at(-1).model, text: pieces.map((p) => p.text).join(""),
      finish: pieces.at(-1).finish_reason, usage: items.at(-1).usage,
    };
  },
  "responses": async (items) => {
    const runner = ResponseStream.fromReadableStream(lines(items));
    const { parsed, ...whole } = await runner.finalResponse();
    return { ...items.at(-1).response, output_text: whole.output_text };
  },
};

async function see(client, o) {
  const place = {
    "chat/completions": client.chat.completions, "completions": client.completions,
    "responses": client.responses, "embeddings": client.embeddings,
  }[o.endpoint];
  const { data, response } = await place.create(o.body).withResponse();
  const seen = { cache: response.headers.get("x-helixflow-cache") ?? "", age: response.headers.get("age") ?? "" };
  if (!o.body.stream) return { ...seen, items: [data], meaning: meanings[o.endpoint](data) };
  const items = [];
  for await (const item of data) items.push(item);
  return { ...seen, items, meaning: await together[o.endpoint](items) };
}

/** The same request, so many times at once. */
export const seeAll = (client, o) => Promise.all(Array.from({ length: o.times }, () => see(client, o)));
