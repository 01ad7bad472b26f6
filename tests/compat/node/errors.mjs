// Refusals and failures: the error class of each status, and what the client retries.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import OpenAI from "openai";
import { ask, client, env, fetchJSON, newClient, raises, stats } from "./world.mjs";

// refused: the attempt raises this, with all of OpenAI's error object, and so
// many requests reach the engine.
async function refused(kind, status, code, attempt, contacted = 0) {
  const before = (await stats()).received;
  const e = await raises(kind, attempt());
  assert.deepEqual([e.status, e.code], [status, code], JSON.stringify(e.error));
  assert.ok(e.error.message && e.type, JSON.stringify(e.error));
  assert.deepEqual(Object.keys(e.error).sort(), ["code", "message", "param", "type"]);
  assert.ok(e.requestID, "no request id");
  assert.equal((await stats()).received - before, contacted, "requests that reached the engine");
  return e;
}

async function error400() {
  const e = await refused(OpenAI.BadRequestError, 400, null, () => ask("hi", { max_tokens: "many" }));
  assert.equal(e.param, "max_tokens");
  await raises(OpenAI.BadRequestError, ask("hi", { n: "two" }));
  await raises(OpenAI.BadRequestError, ask("", { messages: [] })); // the engine's own refusal
}

async function error401() {
  for (const apiKey of ["sk-wrong", env.keySmall.slice(0, -1), "x".repeat(200)]) {
    const by = newClient({ apiKey, maxRetries: 2 });
    const e = await refused(OpenAI.AuthenticationError, 401, "invalid_api_key", () => ask("hi", {}, { by }));
    assert.ok(!`${e}`.includes(apiKey), "the error repeats the key");
  }
}

// The router's credential was refused, not the caller's: no AuthenticationError,
// and no use in trying again.
async function error401Backend() {
  const by = newClient({ maxRetries: 2 });
  await refused(OpenAI.InternalServerError, 502, "upstream_error", () => ask("sim:error=401; hi", {}, { by }), 1);
}

async function error403() {
  const by = newClient({ apiKey: env.keySmall });
  await refused(OpenAI.PermissionDeniedError, 403, "model_not_allowed", () => ask("hi", {}, { by }));
  assert.ok((await ask("hi", { model: "fake" }, { by })).choices[0].message.content);
}

async function error404Model() {
  const e = await refused(OpenAI.NotFoundError, 404, "model_not_found", () => ask("hi", { model: "gpt-9" }));
  assert.match(e.message, /gpt-9/);
  await refused(OpenAI.NotFoundError, 404, "model_not_found", () => client.models.retrieve("no/such:model"));
}

const error404Path = () =>
  refused(OpenAI.NotFoundError, 404, "unknown_url", () => client.post("/nothing/here", { body: { model: "fake" } }));

const error409 = () =>
  refused(OpenAI.ConflictError, 409, "simulated_error", () => ask("sim:error=409; hi"), 1);

// Refused while the client still sends: it must read the answer, not a reset.
async function error413() {
  const big = "x".repeat(2 << 20);
  for (let i = 0; i < 3; i++) {
    await refused(OpenAI.APIError, 413, "request_too_large", () => ask(big));
  }
  const by = newClient({ apiKey: "sk-wrong" });
  await refused(OpenAI.AuthenticationError, 401, "invalid_api_key", () => ask(big, {}, { by }));
}

const error422 = () =>
  refused(OpenAI.UnprocessableEntityError, 422, "simulated_error", () => ask("sim:error=422; hi"), 1);

async function error429() {
  const e = await refused(OpenAI.RateLimitError, 429, "rate_limit_exceeded", () => ask("sim:error=429; hi"), 1);
  assert.equal(e.type, "requests");
}

const retrying = (order, maxRetries) => () => ask(`sim:${order}; hi`, {}, { by: newClient({ maxRetries }) });

const error500 = () => refused(OpenAI.InternalServerError, 500, "simulated_error", retrying("error=500", 1), 2);

const error503 = () =>
  refused(OpenAI.InternalServerError, 503, "simulated_error", retrying("error=503,retry_after=20ms", 2), 3);

// retried succeeds at the third try, after twice the time the engine named: more
// than the client would wait by itself.
async function retried(status) {
  const before = (await stats()).received;
  const start = performance.now();
  const r = await retrying(`error=${status},retry_after=800ms,id=${randomUUID()},times=2,tokens=4`, 2)();
  const took = performance.now() - start;
  assert.equal(r.usage.completion_tokens, 4);
  assert.equal((await stats()).received - before, 3);
  assert.ok(took >= 1590, `${took}ms, so Retry-After was not heard`);
}

// The client numbers its tries; the backend can tell them apart.
async function retryCount() {
  const seen = (await fetchJSON(`${env.fake}/requests`)).length;
  await fetchJSON(`${env.fake}/queue`, "status=503 header=Retry-After-Ms:20 times=2");
  await ask("hi", { model: "fake" }, { by: newClient({ maxRetries: 2 }) });
  const requests = (await fetchJSON(`${env.fake}/requests`)).slice(seen);
  assert.deepEqual(requests.map((r) => r.header["X-Stainless-Retry-Count"]), [["0"], ["1"], ["2"]]);
  assert.ok(requests.every((r) => !("Authorization" in r.header)), "the caller's key reached the backend");
}

export const checks = {
  "error-400": error400,
  "error-401": error401,
  "error-401-backend": error401Backend,
  "error-403": error403,
  "error-404-model": error404Model,
  "error-404-path": error404Path,
  "error-409": error409,
  "error-413": error413,
  "error-422": error422,
  "error-429": error429,
  "error-500-retried": error500,
  "error-503-retried": error503,
  "retry-after-429": () => retried(429),
  "retry-after-503": () => retried(503),
  "retry-count": retryCount,
};
