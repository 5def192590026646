// The same load for a long time while the processors come and go: does anything grow, is anything
// ever wrong? DURATION (30m), RATE (100 a second).

import { pay, uuid, cents, summary, QUICK, TREND_STATS } from './payment.js';

export const options = {
  summaryTrendStats: TREND_STATS,
  scenarios: {
    payments: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE || 100),
      timeUnit: '1s',
      duration: __ENV.DURATION || (QUICK ? '20s' : '30m'),
      preAllocatedVUs: 50,
      maxVUs: 1000,
      gracefulStop: '2s',
    },
  },
};

export default function () {
  pay(uuid(), cents());
}

export const handleSummary = summary;
