// Every id is sent COPIES times at nearly the same moment, by different users over different
// connections, some spelled in upper case: one answer may be 2xx, the others are 409.

import exec from 'k6/execution';
import { pay, summary, QUICK, TREND_STATS } from './payment.js';

const COPIES = Number(__ENV.COPIES || 5);
// Eight hex digits that differ from run to run.
const RUN = __ENV.RUN_ID || '00000000';

export const options = {
  summaryTrendStats: TREND_STATS,
  scenarios: {
    payments: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE || (QUICK ? 200 : 500)),
      timeUnit: '1s',
      duration: __ENV.DURATION || (QUICK ? '20s' : '60s'),
      preAllocatedVUs: 100,
      maxVUs: 1000,
      gracefulStop: '2s',
    },
  },
};

export default function () {
  const turn = exec.scenario.iterationInTest;
  const payment = Math.floor(turn / COPIES);
  const id = `${RUN}-0000-4000-8000-${payment.toString(16).padStart(12, '0')}`;
  // The same amount for the same id, whoever sends it.
  const amount = 1 + ((payment * 7919) % 19999);
  pay(turn % 2 === 0 ? id : id.toUpperCase(), amount);
}

export const handleSummary = summary;
