// Spike: ten times the traffic at once, then as before. Within seconds of its
// end everything must be as it was before it began.
//
// RATE   requests a second before and after, default 20
// FACTOR how many times that in the spike, default 10

import { chat, number, thresholds } from './openai.js';

export { setup, teardown } from './openai.js';

const rate = number('RATE', 20);
const factor = number('FACTOR', 10);
const constant = (perSecond, startTime, duration, exec) => ({
  executor: 'constant-arrival-rate', exec,
  rate: perSecond, timeUnit: '1s', startTime, duration,
  preAllocatedVUs: Math.max(10, perSecond), maxVUs: Math.max(100, perSecond * 10),
});

export const options = {
  scenarios: {
    before: constant(rate, '0s', '15s', 'steady'),
    spike: constant(rate * factor, '15s', '10s', 'sudden'),
    after: constant(rate, '30s', '15s', 'steady'), // 5 s to recover
  },
  thresholds: (() => {
    const limits = thresholds({
      'http_req_failed{scenario:before}': ['rate<0.001'],
      'http_req_failed{scenario:after}': ['rate<0.001'],
      'http_req_duration{scenario:after}': [`p(95)<${number('P95_MS', 2000)}`],
    });
    delete limits['http_req_duration{name:chat}']; // in the spike they may wait
    return limits;
  })(),
};

export function steady() { chat(); }
export function sudden() { chat({ refusable: true }); }
