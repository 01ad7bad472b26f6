// What the checks share: the client, and what the backends have counted.

import assert from "node:assert/strict";
import OpenAI from "openai";

export const env = {
  baseURL: process.env.COMPAT_BASE_URL,
  key: process.env.COMPAT_KEY,
  keySmall: process.env.COMPAT_KEY_SMALL,
  sim: process.env.COMPAT_SIM,
  fake: process.env.COMPAT_FAKE,
};

export const model = "gpt-4o-mini";

export const newClient = (options = {}) =>
  new OpenAI({ baseURL: env.baseURL, apiKey: env.key, timeout: 20_000, maxRetries: 0, ...options });

export const client = newClient();

// ask is one chat completion; with stream: true the stream.
export const ask = (content, params = {}, { by = client, ...options } = {}) =>
  by.chat.completions.create({ model, messages: [{ role: "user", content }], ...params }, options);

export async function collect(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

// raises returns the error, exactly of this class, that the attempt must end in.
export async function raises(kind, attempt) {
  let result;
  try {
    result = await attempt;
  } catch (e) {
    assert.equal(e.constructor.name, kind.name, `${e}`);
    assert.equal(e.constructor, kind, `${e}`);
    return e;
  }
  assert.fail(`no ${kind.name} but ${JSON.stringify(result)}`);
}

export async function fetchJSON(url, body) {
  const answer = await fetch(url, body === undefined ? {} : { method: "POST", body });
  assert.equal(answer.status, 200);
  const text = await answer.text();
  return text ? JSON.parse(text) : undefined;
}

export const stats = () => fetchJSON(`${env.sim}/sim/stats`);

// until polls; the milliseconds it took.
export async function until(what, condition, ms = 5000) {
  const start = performance.now();
  while (!(await condition())) {
    assert.ok(performance.now() - start < ms, `not within ${ms}ms: ${what}`);
    await new Promise((done) => setTimeout(done, 5));
  }
  return Math.round(performance.now() - start);
}
