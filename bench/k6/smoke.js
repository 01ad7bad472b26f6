// Smoke: a minute's worth of certainty that a deployment works at all, in seconds.
// One caller walks through the endpoints and the errors.

import { check } from 'k6';
import { chat, get, isError, model, parsed, post, thresholds } from './openai.js';

export { setup, teardown } from './openai.js';

export const options = {
  scenarios: { smoke: { executor: 'per-vu-iterations', vus: 2, iterations: 10, maxDuration: '1m' } },
  thresholds: thresholds({ checks: ['rate==1'] }),
};

export default function () {
  chat({ stream: false });
  chat({ stream: true });
  check(get('/models'), { 'models lists the model': (r) => parsed(r)?.data?.some((m) => m.id === model) });

  const messages = [{ role: 'user', content: 'Hello' }];
  check(post('/chat/completions', { model, messages }, { key: 'sk-nobody', name: 'wrong key', statuses: [401] }), {
    'a wrong key is refused': (r) => r.status === 401 && isError(r),
  });
  check(post('/chat/completions', { model: 'no-such-model', messages }, { name: 'wrong model', statuses: [404] }), {
    'an unknown model is refused': (r) => r.status === 404 && isError(r),
  });
}
