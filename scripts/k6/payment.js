// One payment request and its record: what every load script here shares. Nothing is imported from
// the network.
//
// Each answer becomes one line of the console output, `P id cents status origin`, which run-k6
// joins with the processors' own lists at the end. `origin` is `haproxy` for an answer that HAProxy
// made itself, `unsure` for a 5xx of p99 that says `"charged":"unknown"`, `-` for all others. Status 0
// is no answer: timeout or a broken connection.

import http from 'k6/http';
import { Counter } from 'k6/metrics';

export const BASE_URL = __ENV.BASE_URL || 'http://127.0.0.1:9999';
export const QUICK = __ENV.QUICK === '1';

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
export function pay(id, cents) {
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
export function uuid() {
  const hex = () => Math.floor(Math.random() * 0x100000000).toString(16).padStart(8, '0');
  const text = hex() + hex() + hex() + hex();
  const variant = '89ab'[Math.floor(Math.random() * 4)];
  return `${text.slice(0, 8)}-${text.slice(8, 12)}-4${text.slice(13, 16)}-` +
    `${variant}${text.slice(17, 20)}-${text.slice(20, 32)}`;
}

// An amount between 0.01 and 199.99, so that sums differ whenever payments do.
export function cents() {
  return 1 + Math.floor(Math.random() * 19999);
}

// Answers other than 2xx are judged by the runner, not by k6.
http.setResponseCallback(http.expectedStatuses({ min: 200, max: 599 }));

// What the runner reads when k6 is done.
export function summary(data) {
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

export const TREND_STATS = ['p(50)', 'p(99)', 'max'];
