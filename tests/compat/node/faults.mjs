// Ends before the end: the client leaves, the backend breaks off, falls silent, or fails midway.

import assert from "node:assert/strict";
import OpenAI from "openai";
import { ask, client, raises, stats, until } from "./world.mjs";

async function aborted(before) {
  const took = await until("the engine sees that the client left",
    async () => (await stats()).aborted === before.aborted + 1, 1000);
  assert.equal((await stats()).running, 0);
  return `the engine knew after ${took}ms`;
}

async function cancelPrefill() {
  const before = await stats();
  const leave = new AbortController();
  const attempt = raises(OpenAI.APIUserAbortError, ask("sim:ttft=20s; slow", {}, { signal: leave.signal }));
  await until("the request reaches the engine", async () => (await stats()).running === 1);
  leave.abort();
  await attempt;
  return aborted(before);
}

async function cancelStream() {
  const before = await stats();
  const stream = await ask("sim:ttft=10ms,gap=20ms,tokens=1000; slow", { stream: true });
  let seen = 0;
  for await (const _ of stream) {
    if (++seen === 3) break;
  }
  assert.equal(seen, 3);
  return aborted(before);
}

// broken returns what came before the error that must come, and that error.
async function broken(stream) {
  const items = [];
  try {
    for await (const item of stream) items.push(item);
  } catch (e) {
    return { items, e };
  }
  assert.fail(`ended like a good answer after ${items.length} items`);
}

async function cutUnary() {
  const e = await raises(OpenAI.InternalServerError, ask("fake:close@body+40; hi", { model: "fake" }));
  assert.deepEqual([e.status, e.code], [502, "upstream_error"]);
}

async function cutStream(script, code = "upstream_interrupted") {
  const { items, e } = await broken(await ask(`fake:${script}; hi`, { model: "fake", stream: true }));
  assert.equal(items.map((c) => c.choices[0].delta.content ?? "").join(""), "w1 w2 ", `before ${e}`);
  assert.equal(e.constructor, OpenAI.APIError, `${e}`);
  assert.equal(e.code, code, `${e}`);
  assert.ok(e.message);
}

async function cutResponses() {
  const stream = await client.responses.create({ model: "fake", input: "fake:close@chunk:3; hi", stream: true });
  const { items, e } = await broken(stream);
  const kinds = items.map((i) => i.type);
  assert.ok(kinds.includes("response.output_text.delta") && !kinds.includes("response.completed"), `${kinds}`);
  return `${kinds.at(-1)}, then ${e}`;
}

async function errorInStream() {
  const { items, e } = await broken(await ask("sim:error_after=3,tokens=9; hi", { stream: true }));
  assert.ok(items.length >= 3);
  assert.equal(e.constructor, OpenAI.APIError, `${e}`);
  assert.equal(e.code, "simulated_error");
}

async function stallBefore() {
  const e = await raises(OpenAI.InternalServerError, ask("fake:stall@head; hi", { model: "fake" }));
  assert.deepEqual([e.status, e.code], [504, "upstream_timeout"]);
}

async function stallIn() {
  const start = performance.now();
  await cutStream("stall@chunk:2", "upstream_timeout");
  const took = performance.now() - start;
  assert.ok(took >= 900 && took < 5000, `${took}ms, want the idle timeout of 1s`);
}

export const checks = {
  "cancel-prefill": cancelPrefill,
  "cancel-stream": cancelStream,
  "cut-unary": cutUnary,
  "cut-stream-clean": () => cutStream("close@chunk:2"),
  "cut-stream-reset": () => cutStream("reset@chunk:2+9"),
  "cut-responses-stream": cutResponses,
  "error-in-stream": errorInStream,
  "stall-before-answer": stallBefore,
  "stall-in-stream": stallIn,
};
