// The load scripts of run-k6: one payment request with its record, and the shape that SHAPE names.
// Nothing is imported from the network.
//
// Each answer becomes one line of the console output, `P id cents status origin`, which run-k6
// joins with the processors' own lists at the end. `origin` is `haproxy` for an answer that HAProxy
// made itself, `unsure` for a 5xx of p99 that says `"charged":"unknown"`, `-` for all others. Status 0
// is no answer: timeout or a broken connection.

import exec from 'k6/execution';
import http from 'k6/http';
import { sleep } from 'k6';
import { Counter } from 'k6/metrics';

const BASE_URL = __ENV.BASE_URL || 'http://127.0.0.1:9999';
const QUICK = __ENV.QUICK === '1';

const acknowledged = new Counter('payments_acknowledged');
const failed = new Counter('payments_failed');

const PARAMETERS = {
  headers: { 'Content-Type': 'application/json' },
  timeout: __ENV.CLIENT_TIMEOUT || '1500ms',
  tags: { name: 'payments' },
  responseType: 'text',
};
if (__ENV.AUTHORIZATION) {
  PARAMETERS.headers.Authorization = __ENV.AUTHORIZATION;
}

const FROM_HAPROXY = /the instance (broke off|did not answer)|no instance that may answer/;

function originOf(answer) {
  if (answer.status < 500) return '-';
  if (FROM_HAPROXY.test(answer.body)) return 'haproxy';
  return /"charged": ?"unknown"/.test(answer.body) ? 'unsure' : '-';
}

// Sends one payment of so many cents and records what came of it.
function pay(id, cents) {
  const amount = `${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`;
  const body = `{"correlationId":"${id}","amount":${amount}}`;
  const answer = http.post(`${BASE_URL}/payments`, body, PARAMETERS);
  const isOurs = answer.status === 200 || answer.status === 202;
  (isOurs ? acknowledged : failed).add(1);
  console.log(`P ${id} ${cents} ${answer.status} ${originOf(answer)}`);
  return answer;
}

// A fresh UUID of version 4. Math.random is enough: 2^52 states twice over, and the runner would
// notice a repeated one as a duplicate.
function uuid() {
  const hex = () => Math.floor(Math.random() * 0x100000000).toString(16).padStart(8, '0');
  const text = hex() + hex() + hex() + hex();
  const variant = '89ab'[Math.floor(Math.random() * 4)];
  return `${text.slice(0, 8)}-${text.slice(8, 12)}-4${text.slice(13, 16)}-` +
    `${variant}${text.slice(17, 20)}-${text.slice(20, 32)}`;
}

// An amount between 0.01 and 199.99, so that sums differ whenever payments do.
function cents() {
  return 1 + Math.floor(Math.random() * 19999);
}

// Answers other than 2xx are judged by the runner, not by k6.
http.setResponseCallback(http.expectedStatuses({ min: 200, max: 599 }));

// What the runner reads when k6 is done.
export function handleSummary(data) {
  const duration = data.metrics.http_req_duration.values;
  const count = (name) => (data.metrics[name] ? data.metrics[name].values.count : 0);
  const result = {
    requests: count('http_reqs'),
    acknowledged: count('payments_acknowledged'),
    failed: count('payments_failed'),
    dropped: count('dropped_iterations'),
    p50_ms: duration['p(50)'],
    p99_ms: duration['p(99)'],
    max_ms: duration.max,
  };
  return { [__ENV.RESULT || 'stdout']: JSON.stringify(result) };
}

// At a steady or changing rate, whatever the answers.
const rate = (duration, more) => ({
  executor: 'constant-arrival-rate',
  timeUnit: '1s',
  duration: __ENV.DURATION || (QUICK ? '20s' : duration),
  maxVUs: 1000,
  gracefulStop: '2s',
  ...more,
});
const CALM = Number(__ENV.CALM || 25);
const SPIKE = Number(__ENV.SPIKE || (QUICK ? 300 : 1000));
const part = (full) => `${QUICK ? Math.ceil(full / 3) : full}s`;

const SHAPES = {
  // The official load test's (Rinha de Backend 2025): in 60 s from 1 to MAX_REQUESTS virtual users,
  // each of which pays and then rests for a second. Meanwhile the runner switches the processors.
  // Amounts vary here; the official ones are all 19.90.
  rinha: {
    executor: 'ramping-vus',
    startVUs: 1,
    stages: [{ target: Number(__ENV.MAX_REQUESTS || (QUICK ? 100 : 550)),
      duration: QUICK ? '20s' : '60s' }],
    gracefulRampDown: '0s',
    gracefulStop: '2s',
  },
  // The same for a long time while the processors come and go: does anything grow, is anything
  // ever wrong? DURATION (30m), RATE (100 a second).
  soak: rate('30m', { rate: Number(__ENV.RATE || 100), preAllocatedVUs: 50 }),
  // A calm stream, then forty times as much at once, then calm again: does the spike leave anything
  // behind, and does p99 shed what it cannot hold with 503 and no charge?
  spike: {
    executor: 'ramping-arrival-rate',
    startRate: CALM,
    timeUnit: '1s',
    preAllocatedVUs: 200,
    maxVUs: 2000,
    stages: [[CALM, part(15)], [SPIKE, '1s'], [SPIKE, part(15)], [CALM, '1s'], [CALM, part(28)]]
      .map(([target, duration]) => ({ target, duration })),
    gracefulStop: '2s',
  },
  // Every id is sent COPIES times at nearly the same moment, by different users over different
  // connections, some spelled in upper case: one answer may be 2xx, the others are 409.
  duplicates: rate('60s', { rate: Number(__ENV.RATE || (QUICK ? 200 : 500)),
    preAllocatedVUs: 100 }),
};
const SHAPE = __ENV.SHAPE || 'rinha';

export const options = {
  summaryTrendStats: ['p(50)', 'p(99)', 'max'],
  scenarios: { payments: SHAPES[SHAPE] },
};

const COPIES = Number(__ENV.COPIES || 5);
// Eight hex digits that differ from run to run.
const RUN = __ENV.RUN_ID || '00000000';

function payCopy() {
  const turn = exec.scenario.iterationInTest;
  const payment = Math.floor(turn / COPIES);
  const id = `${RUN}-0000-4000-8000-${payment.toString(16).padStart(12, '0')}`;
  // The same amount for the same id, whichever user sends it.
  const amount = 1 + ((payment * 7919) % 19999);
  pay(turn % 2 === 0 ? id : id.toUpperCase(), amount);
}

export default function () {
  if (SHAPE === 'duplicates') {
    payCopy();
    return;
  }
  pay(uuid(), cents());
  if (SHAPE === 'rinha') sleep(1);
}
