// The endpoints beside chat: embeddings, models, moderations, completions, responses.

import assert from "node:assert/strict";
import { ask, client, collect, env, model, newClient } from "./world.mjs";

async function embed(options) {
  const r = await client.embeddings.create({ model: "text-embedding-3-small", input: ["one", "two"], ...options });
  assert.deepEqual(r.data.map((d) => d.index), [0, 1]);
  assert.ok(r.usage.prompt_tokens > 0);
  assert.ok(r.data[0].embedding.every((x) => typeof x === "number" && Number.isFinite(x)));
  assert.notDeepEqual(r.data[0].embedding, r.data[1].embedding);
  return r.data[0].embedding;
}

async function embeddingsBase64() {
  // The client asks for base64 by itself and decodes it.
  assert.equal((await embed({})).length, 384);
  assert.equal((await embed({ dimensions: 64 })).length, 64);
}

async function embeddingsFloat() {
  const plain = await embed({ encoding_format: "float" });
  const packed = await embed({});
  assert.equal(plain.length, packed.length);
  assert.ok(plain.every((x, i) => Math.abs(x - packed[i]) < 1e-6));
}

async function modelsList() {
  const models = await collect(await client.models.list());
  assert.deepEqual(models.map((m) => m.id).sort(), [
    "fake", "gpt-4o-mini", "llama-3.1-8b", "omni-moderation-latest", "org/model:7b", "text-embedding-3-small",
  ]);
  assert.ok(models.every((m) => m.object === "model" && m.owned_by && m.created > 0));
  const small = await collect(await newClient({ apiKey: env.keySmall }).models.list());
  assert.deepEqual(small.map((m) => m.id), ["fake"]);
}

async function modelsRetrieve() {
  for (const id of ["llama-3.1-8b", "org/model:7b"]) {
    assert.equal((await client.models.retrieve(id)).id, id);
  }
  // People leave out /v1.
  const bare = newClient({ baseURL: env.baseURL.replace(/\/v1$/, "") });
  assert.equal((await bare.models.retrieve("org/model:7b")).id, "org/model:7b");
}

async function moderations() {
  const r = await client.moderations.create({ model: "omni-moderation-latest", input: ["fine", "good"] });
  assert.equal(r.results.length, 2);
  assert.equal(r.results[0].flagged, false);
  assert.equal(r.results[0].categories.violence, false);
}

async function completions() {
  const r = await client.completions.create({ model, prompt: "sim:tokens=7; once" });
  assert.equal(r.object, "text_completion");
  assert.ok(r.choices[0].text);
  assert.equal(r.choices[0].finish_reason, "stop");
  assert.equal(r.usage.completion_tokens, 7);
  const short = await client.completions.create({ model, prompt: "sim:tokens=7; once", max_tokens: 3 });
  assert.equal(short.choices[0].finish_reason, "length");
}

async function completionsStream() {
  const prompt = "sim:tokens=7; once";
  const whole = await client.completions.create({ model, prompt });
  const chunks = await collect(await client.completions.create({ model, prompt, stream: true }));
  const text = chunks.map((c) => c.choices[0].text).join("");
  assert.ok(text);
  assert.equal(text, whole.choices[0].text);
  assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
  assert.ok(chunks.every((c) => c.usage == null));
}

async function responses() {
  const r = await client.responses.create({ model, input: "sim:tokens=9; say", instructions: "be brief" });
  assert.equal(r.status, "completed");
  assert.ok(r.output_text);
  assert.equal(r.usage.output_tokens, 9);
  assert.equal(r.usage.total_tokens, r.usage.input_tokens + 9);
}

async function responsesStream() {
  const events = await collect(await client.responses.create({ model, input: "sim:tokens=9; say", stream: true }));
  const kinds = events.map((e) => e.type);
  assert.equal(kinds[0], "response.created");
  assert.equal(kinds.at(-1), "response.completed");
  assert.deepEqual(events.map((e) => e.sequence_number), events.map((_, i) => i));
  const order = [
    "response.created", "response.output_item.added", "response.output_text.delta",
    "response.output_text.done", "response.output_item.done", "response.completed",
  ].map((kind) => kinds.indexOf(kind));
  assert.ok(order.every((at, i) => at >= 0 && (i === 0 || at > order[i - 1])), `${kinds}`);
  const text = events.filter((e) => e.type === "response.output_text.delta").map((e) => e.delta).join("");
  const final = events.at(-1).response;
  assert.ok(text);
  assert.equal(text, final.output[0].content[0].text);
  assert.equal(final.usage.output_tokens, 9);
}

async function requestID() {
  const first = await ask("one");
  const second = await ask("two");
  assert.ok(first._request_id && second._request_id);
  assert.notEqual(first._request_id, second._request_id);
  const { response, request_id } = await ask("three").withResponse();
  assert.equal(response.headers.get("x-request-id"), request_id);
  assert.match(response.headers.get("openai-processing-ms"), /^\d+$/);
  return first._request_id;
}

export const checks = {
  "embeddings-base64": embeddingsBase64,
  "embeddings-float": embeddingsFloat,
  "models-list": modelsList,
  "models-retrieve": modelsRetrieve,
  "moderations": moderations,
  "completions": completions,
  "completions-stream": completionsStream,
  "responses": responses,
  "responses-stream": responsesStream,
  "request-id": requestID,
};
