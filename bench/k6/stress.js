// Stress: more and more until something gives. What gives must give in order: a
// refusal is OpenAI's error object and says when to come back; nothing is reset,
// nothing is cut, and an accepted stream still ends.
//
// RATE  where it begins, requests a second, default 50
// STEPS how often that is doubled, default 4, each for STEP, default 20s

import { Rate } from 'k6/metrics';
import { chat, number, thresholds } from './openai.js';

export { setup, teardown } from './openai.js';

const rate = number('RATE', 50);
const steps = number('STEPS', 4);
const served = new Rate('served');

const stages = [];
for (let i = 0; i <= steps; i += 1) {
  stages.push({ target: rate * 2 ** i, duration: '5s' }, { target: rate * 2 ** i, duration: __ENV.STEP || '20s' });
}

export const options = {
  scenarios: {
    stress: {
      executor: 'ramping-arrival-rate',
      startRate: rate, timeUnit: '1s', preAllocatedVUs: 50, maxVUs: number('MAX_VUS', 2000), stages,
    },
  },
  thresholds: thresholds({
    router_overhead_p50: [], // a full machine delays everybody
    'http_req_duration{name:chat}': [{ threshold: `p(95)<${number('P95_MS', 30000)}`, abortOnFail: true, delayAbortEval: '10s' }],
    served: ['rate>0'],
  }),
};

export default function () { served.add(chat({ refusable: true }).status === 200); }
