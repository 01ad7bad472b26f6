// What the scripts share: how to call a router as an OpenAI client does, what a
// good answer looks like, and what the router itself says it added.
//
// BASE_URL    as an OpenAI client has it, default http://127.0.0.1:8080/v1
// API_KEY     required
// MODEL       default llama-3.1-8b
// PROMPT      default Hello
// MAX_TOKENS  default 64
// STREAM      share of requests that stream, 0 to 1, default 0.3
// ADMIN_URL   the router's admin address, such as http://127.0.0.1:9090; without it
//             the router's own overhead is not measured
// ADMIN_TOKEN its bearer token, if it wants one
// P95_MS      95 % of answers are whole within this, default 2000
// OVERHEAD_MS half of the requests wait less than this for the router, default 1

import exec from 'k6/execution';
import http from 'k6/http';
import { check } from 'k6';
import { Trend } from 'k6/metrics';

const env = (name, fallback) => __ENV[name] || fallback;
const number = (name, fallback) => {
  const value = Number(env(name, fallback));
  if (!Number.isFinite(value) || value < 0) throw new Error(`${name} is not a number: ${__ENV[name]}`);
  return value;
};

export { number };
export const baseURL = env('BASE_URL', 'http://127.0.0.1:8080/v1').replace(/\/+$/, '');
export const model = env('MODEL', 'llama-3.1-8b');
export const adminURL = env('ADMIN_URL', '').replace(/\/+$/, '');
const streamShare = number('STREAM', 0.3);

const overheadP50 = new Trend('router_overhead_p50', true);
const overheadP99 = new Trend('router_overhead_p99', true);

// thresholds are what every script holds the router to. Requests of setup and
// teardown do not count.
export function thresholds(more) {
  const all = {
    checks: ['rate>0.999'],
    'http_reqs{name:chat}': ['count>0'], // or nothing below could fail
    'http_req_failed{name:chat}': ['rate<0.001'],
    'http_req_duration{name:chat}': [`p(95)<${number('P95_MS', 2000)}`],
  };
  if (adminURL) all.router_overhead_p50 = [`max<${number('OVERHEAD_MS', 1)}`];
  return Object.assign(all, more);
}

function headers(key) {
  return { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' };
}

// post sends an OpenAI request; statuses are those that are no failure.
export function post(path, body, { key = __ENV.API_KEY, name = path, statuses = [200] } = {}) {
  return http.post(`${baseURL}${path}`, JSON.stringify(body), {
    headers: headers(key), tags: { name }, timeout: '120s',
    responseCallback: http.expectedStatuses(...statuses),
  });
}

export function get(path) {
  return http.get(`${baseURL}${path}`, { headers: headers(__ENV.API_KEY), tags: { name: path } });
}

// chat sends one chat completion, by chance as a stream, and checks that the
// answer is whole. With refusable, a proper refusal is as good as an answer.
export function chat({ stream = Math.random() < streamShare, refusable = false } = {}) {
  const statuses = refusable ? [200, 429, 503] : [200];
  const answer = post('/chat/completions', {
    model, stream, max_tokens: number('MAX_TOKENS', 64),
    messages: [{ role: 'user', content: env('PROMPT', 'Hello') }],
  }, { name: 'chat', statuses });
  if (refusable && answer.status !== 200) {
    check(answer, { 'a refusal says when to come back': (r) => isError(r) && !!r.headers['Retry-After'] });
  } else if (stream) {
    check(answer, { 'a stream ends in [DONE]': (r) => r.status === 200 && (r.body || '').trimEnd().endsWith('data: [DONE]') });
  } else {
    check(answer, { 'an answer has a message': (r) => r.status === 200 && parsed(r)?.choices?.[0]?.message !== undefined });
  }
  return answer;
}

export function parsed(answer) {
  try { return answer.json(); } catch (e) { return undefined; }
}

// isError tells OpenAI's error object, all four keys of it.
export function isError(answer) {
  const error = parsed(answer)?.error;
  return !!error && ['message', 'type', 'param', 'code'].every((key) => key in error);
}

// setup makes sure that the router can be called at all, and remembers what it
// has counted so far.
export function setup() {
  if (!__ENV.API_KEY) exec.test.abort('API_KEY is not set');
  const answer = post('/chat/completions', { model, max_tokens: 1, messages: [{ role: 'user', content: 'Hello' }] }, { name: 'setup' });
  if (answer.status !== 200) {
    exec.test.abort(`cannot call ${model} at ${baseURL}: ${answer.status || answer.error} ${answer.body || ''}`);
  }
  return { before: overheadBuckets() };
}

// teardown adds what the router waited itself, since setup, to the metrics.
export function teardown({ before }) {
  if (!adminURL) return;
  const after = overheadBuckets();
  if (after.length === 0) exec.test.abort(`no helixflow_overhead_seconds at ${adminURL}/metrics`);
  const counted = Object.fromEntries(before);
  const delta = after.map(([le, count]) => [le, count - (counted[le] || 0)]);
  overheadP50.add(quantile(delta, 0.5) * 1000);
  overheadP99.add(quantile(delta, 0.99) * 1000);
}

// overheadBuckets are [bound in seconds, requests within it], cumulative, in
// order; none before the router has counted any.
function overheadBuckets() {
  if (!adminURL) return [];
  const token = __ENV.ADMIN_TOKEN;
  const answer = http.get(`${adminURL}/metrics`, { tags: { name: 'metrics' }, headers: token ? { Authorization: `Bearer ${token}` } : {} });
  if (answer.status !== 200) exec.test.abort(`cannot read ${adminURL}/metrics: ${answer.status || answer.error}`);
  const buckets = [];
  for (const [, le, count] of (answer.body || '').matchAll(/^helixflow_overhead_seconds_bucket\{le="([^"]+)"\} (\d+)/gm)) {
    buckets.push([le, Number(count)]); // le stays text: setup's data travels as JSON, which has no infinity
  }
  return buckets;
}

// quantile is what Prometheus' histogram_quantile computes: linear within a bucket.
function quantile(buckets, q) {
  const total = buckets[buckets.length - 1][1];
  const rank = q * total;
  let [low, below] = [0, 0];
  for (const [le, count] of buckets) {
    if (count >= rank && count > below) {
      return le === '+Inf' ? low : low + ((Number(le) - low) * (rank - below)) / (count - below);
    }
    [low, below] = [Number(le), count];
  }
  return 0;
}
