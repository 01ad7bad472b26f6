// Load: the traffic you expect, for as long as you like. Requests come at their
// own rate whether the last ones were answered or not, as they do from outside.
//
// RATE     requests a second, default 50
// DURATION at that rate, default 1m
// OVERHEAD_P99_MS 99 % of requests wait less than this for the router, default 10;
//          far less on a machine that k6 does not share

import { adminURL, chat, number, thresholds } from './openai.js';

export { setup, teardown } from './openai.js';

const rate = number('RATE', 50);

export const options = {
  scenarios: {
    load: {
      executor: 'ramping-arrival-rate',
      startRate: 1, timeUnit: '1s', preAllocatedVUs: Math.max(10, rate), maxVUs: Math.max(100, rate * 20),
      stages: [
        { target: rate, duration: '10s' },
        { target: rate, duration: __ENV.DURATION || '1m' },
      ],
    },
  },
  // A request that k6 had nobody left to send counts as much as one that failed.
  thresholds: thresholds({
    dropped_iterations: ['count<1'],
    ...(adminURL && { router_overhead_p99: [`max<${number('OVERHEAD_P99_MS', 10)}`] }),
  }),
};

export default function () { chat(); }
