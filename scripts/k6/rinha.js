// The official load test's shape (Rinha de Backend 2025): in 60 s from 1 to MAX_REQUESTS virtual
// users, each of which pays and then rests for a second. Meanwhile the runner switches the
// processors. Amounts vary here; the official ones are all 19.90.

import { sleep } from 'k6';
import { pay, uuid, cents, summary, QUICK, TREND_STATS } from './payment.js';

const USERS = Number(__ENV.MAX_REQUESTS || (QUICK ? 100 : 550));

export const options = {
  summaryTrendStats: TREND_STATS,
  scenarios: {
    payments: {
      executor: 'ramping-vus',
      startVUs: 1,
      stages: [{ target: USERS, duration: QUICK ? '20s' : '60s' }],
      gracefulRampDown: '0s',
      gracefulStop: '2s',
    },
  },
};

export default function () {
  pay(uuid(), cents());
  sleep(1);
}

export const handleSummary = summary;
