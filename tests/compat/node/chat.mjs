// Chat completions: unary and streamed, usage, tools, structured output, sizes.

import assert from "node:assert/strict";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { ask, client, collect, env, fetchJSON, model } from "./world.mjs";

const tool = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a city",
    parameters: {
      type: "object",
      properties: { city: { type: "string" }, days: { type: "integer" } },
      required: ["city", "days"],
    },
  },
};

const text = (chunks) => chunks.map((c) => c.choices[0]?.delta.content ?? "").join("");

async function unary() {
  const r = await ask("sim:tokens=12; hello");
  assert.equal(r.object, "chat.completion");
  const [choice] = r.choices;
  assert.equal(choice.message.role, "assistant");
  assert.ok(choice.message.content);
  assert.equal(choice.finish_reason, "stop");
  assert.equal(r.usage.completion_tokens, 12);
  assert.equal(r.usage.total_tokens, r.usage.prompt_tokens + 12);
}

async function unicode() {
  const content = '"quotes" \\ \n\t日本語 🦊👩‍👩‍👧 \u2028 ñ \x7f';
  const r = await ask(content, { model: "fake" });
  assert.equal(r.choices[0].message.content, "w1 w2 w3 ");
  const seen = (await fetchJSON(`${env.fake}/requests`)).at(-1);
  assert.equal(JSON.parse(seen.body).messages[0].content, content);
}

async function large() {
  const r = await ask("sim:tokens=3; " + "lorem ipsum ".repeat((200 * 1024) / 12));
  assert.ok(r.usage.prompt_tokens > 10_000);
  assert.equal(r.usage.completion_tokens, 3);
}

async function stream() {
  const prompt = "sim:tokens=20; stream";
  const whole = await ask(prompt);
  const chunks = await collect(await ask(prompt, { stream: true }));
  assert.ok(text(chunks));
  assert.equal(text(chunks), whole.choices[0].message.content);
  assert.equal(chunks[0].choices[0].delta.role, "assistant");
  assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
  assert.ok(chunks.length >= 20, `${chunks.length} chunks`);
  assert.equal(new Set(chunks.map((c) => c.id)).size, 1);
}

async function usage() {
  const chunks = await collect(
    await ask("sim:tokens=5; hi", { stream: true, stream_options: { include_usage: true } }),
  );
  const last = chunks.pop();
  assert.deepEqual(last.choices, []);
  assert.equal(last.usage.completion_tokens, 5);
  assert.ok(chunks.every((c) => c.choices.length === 1 && c.usage == null), "usage before the last chunk");
}

async function withoutUsage() {
  const chunks = await collect(await ask("sim:tokens=5; hi", { stream: true }));
  assert.ok(chunks.every((c) => c.choices.length === 1 && c.usage == null), "a usage chunk that nobody asked for");
  assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
}

async function tools() {
  const question = { role: "user", content: "sim:tool=get_weather; Paris?" };
  const r = await ask("", { messages: [question], tools: [tool] });
  assert.equal(r.choices[0].finish_reason, "tool_calls");
  const { message } = r.choices[0];
  const [call] = message.tool_calls;
  assert.equal(call.function.name, "get_weather");
  assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)).sort(), ["city", "days"]);
  const result = { role: "tool", tool_call_id: call.id, content: "sunny" };
  const again = await ask("", { messages: [question, message, result], tools: [tool] });
  assert.ok(again.choices[0].message.content);
}

async function toolsStream() {
  // The helper assembles the calls and parses nothing: that is left to us.
  const runner = client.chat.completions.stream({
    model, messages: [{ role: "user", content: "hi" }], tools: [tool], tool_choice: "required",
  });
  const final = await runner.finalChatCompletion();
  assert.equal(final.choices[0].finish_reason, "tool_calls");
  const [call] = final.choices[0].message.tool_calls;
  assert.equal(call.function.name, "get_weather");
  assert.deepEqual(Object.keys(JSON.parse(call.function.arguments)).sort(), ["city", "days"]);
}

async function structured() {
  const Person = z.object({ name: z.string(), age: z.number().int(), tags: z.array(z.string()) });
  const messages = [{ role: "user", content: "who?" }];
  const r = await client.chat.completions.parse({ model, messages, response_format: zodResponseFormat(Person, "person") });
  assert.ok(Person.safeParse(r.choices[0].message.parsed).success, JSON.stringify(r.choices));
  const s = await client.responses.parse({ model, input: "who?", text: { format: zodTextFormat(Person, "person") } });
  assert.ok(Person.safeParse(s.output_parsed).success, JSON.stringify(s.output));
}

async function parallel() {
  const numbers = Array.from({ length: 20 }, (_, i) => i + 1);
  const answers = await Promise.all(numbers.map((n) => ask(`sim:tokens=${n},ttft=50ms; number ${n}`)));
  assert.deepEqual(answers.map((a) => a.usage.completion_tokens), numbers);
}

export const checks = {
  "chat": unary,
  "chat-unicode": unicode,
  "chat-large": large,
  "chat-stream": stream,
  "stream-usage": usage,
  "stream-without-usage": withoutUsage,
  "tools": tools,
  "tools-stream": toolsStream,
  "structured": structured,
  "parallel": parallel,
};
