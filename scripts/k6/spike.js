// A calm stream, then forty times as much at once, then calm again: does the spike leave anything
// behind, and does p99 shed what it cannot hold with 503 and no charge?

import { pay, uuid, cents, summary, QUICK, TREND_STATS } from './payment.js';

const CALM = Number(__ENV.CALM || 25);
const SPIKE = Number(__ENV.SPIKE || (QUICK ? 300 : 1000));
const seconds = (full) => `${QUICK ? Math.ceil(full / 3) : full}s`;

export const options = {
  summaryTrendStats: TREND_STATS,
  scenarios: {
    payments: {
      executor: 'ramping-arrival-rate',
      startRate: CALM,
      timeUnit: '1s',
      preAllocatedVUs: 200,
      maxVUs: 2000,
      stages: [
        { target: CALM, duration: seconds(15) },
        { target: SPIKE, duration: '1s' },
        { target: SPIKE, duration: seconds(15) },
        { target: CALM, duration: '1s' },
        { target: CALM, duration: seconds(28) },
      ],
      gracefulStop: '2s',
    },
  },
};

export default function () {
  pay(uuid(), cents());
}

export const handleSummary = summary;
