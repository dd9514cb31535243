/**
 * Probe requests and reports: both are parsed strictly.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseProbeRequest } from '../../../src/layers/2-isolation/probe/probe-request.ts';
import { readReport } from '../../../src/layers/2-isolation/probe/probe-runner.ts';

const order = {
  attempts: ['tcp'],
  without: ['landlock-files'],
  deadly: false,
  machine: [10, 0, 0, 1],
  closedPort: 9,
  servedPort: 8000,
};

test('a request survives encoding', () => {
  assert.deepEqual(parseProbeRequest(JSON.stringify(order)), order);
});

test('a malformed request is refused', () => {
  const wrong: unknown[] = [
    '',
    '{',
    null,
    [],
    { ...order, attempts: 'tcp' },
    { ...order, attempts: ['../x'] },
    { ...order, deadly: 'no' },
    { ...order, machine: [10, 0, 0] },
    { ...order, machine: [10, 0, 0, 256] },
    { ...order, closedPort: 0 },
    { ...order, servedPort: 65_536 },
    { ...order, without: [1] },
  ];
  for (const value of wrong)
    assert.throws(() => parseProbeRequest(typeof value === 'string' ? value : JSON.stringify(value)), {
      code: 'L2_PROBE_FAILED',
    });
});

test('a report: answers, features, the end; other lines explain a failure', () => {
  const report = readReport(
    '{"enforced":[]}\n{"attempt":"tcp","answer":131}\n(node) warning \u0007\n{broken\n{"attempt":"udp","answer":"0"}\n{"done":true}\n',
  );
  assert.deepEqual([...report.answers], [['tcp', 131]]);
  assert.equal(report.complete, true);
  assert.equal(report.output, '(node) warning ? / {broken');
});

test('a truncated report is not complete, and a failure of the jail stage is kept', () => {
  assert.equal(readReport('{"attempt":"tcp","answer":131}\n').complete, false);
  assert.equal(
    readReport('{"failed":{"code":"L2_FEATURE_MISSING","message":"m","remedy":"r"}}').failure?.code,
    'L2_FEATURE_MISSING',
  );
});
