/**
 * The covert channel budget: everything that a jailed process may send while conversations exist is bounded.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { exposures, leavesOf, reports } from '../../../src/wire/covert-channels.ts';
import { controlSchemas } from '../../../src/wire/control-payloads.ts';
import { controlMessages } from '../../../src/wire/messages.ts';
import type { Shape } from '../../../src/wire/schema.ts';

const source = join(import.meta.dirname, '..', '..', '..', 'src');
const leaves = (phase: 'start' | 'serving') =>
  Object.entries(reports).flatMap(([name, report]) =>
    report.phase === phase && report.shape !== undefined ? leavesOf(report.shape, name) : [],
  );
const isBounded = (shape: Shape) =>
  shape.kind === 'boolean' || shape.kind === 'literals' || (shape.kind === 'whole' && shape.max <= 2 ** 40);

test('every value from a serving role is a literal, a bounded integer, or a listed text that the supervisor rewrites', () => {
  const listed = exposures.flatMap(({ fields }) => fields);
  assert.deepEqual(
    leaves('serving')
      .map(({ path }) => path)
      .sort(),
    [...listed].sort(),
    'each one is in the budget',
  );
  const texts = leaves('serving').filter(({ shape }) => !isBounded(shape));
  // The supervisor puts its own words in place of the first three (`supervisor/intrusion/reported-finding.ts`); the
  // last is shown in the status only.
  assert.deepEqual(texts.map(({ path, shape }) => `${path} ${shape.kind}`).sort(), [
    'scanned.detections[].findings[].name text',
    'scanned.detections[].findings[].tool text',
    'scanned.detections[].findings[].what text',
    'scanned.detections[].reason text',
  ]);
});

test('no role can send text that is not sanitised on arrival', () => {
  for (const { path, shape } of [...leaves('start'), ...leaves('serving')]) assert.notEqual(shape.kind, 'string', path);
});

test('the supervisor accepts no message that is not in the budget', () => {
  const names = new Set(Object.keys(reports).map((name) => name.replace(/^ready.*/, 'ready')));
  for (const file of ['roles/role-reports', 'intrusion/watchdog-process']) {
    const text = readFileSync(join(source, 'supervisor', `${file}.ts`), 'utf8');
    const taken = [...text.matchAll(/\[controlMessages\.(\w+)\]: \{\s*permit: '(\w+)'/g)];
    assert.ok(taken.length >= 5, file);
    for (const [, name = '', permit] of taken) {
      assert.ok(names.has(name), `${file} takes ${name}`);
      const phases = Object.entries(reports)
        .filter(([key]) => key === name || key.startsWith(name === 'ready' ? 'ready' : '-'))
        .map(([, { phase }]) => phase);
      assert.deepEqual(
        [...new Set(phases)],
        [permit === 'start' ? 'start' : 'serving'],
        `${file} takes ${name} ${permit}`,
      );
    }
    for (const [, schema = ''] of text.matchAll(/controlSchemas\.(\w+), frame/g))
      assert.ok(Object.hasOwn(reports, schema), schema);
  }
  for (const odd of Object.entries(controlMessages).filter(([, number]) => number % 2 === 1))
    assert.ok(names.has(odd[0]), odd[0]);
});

test('texts are sanitised and truncated on arrival; integers are integers', () => {
  const finding = {
    detector: 'tools',
    relation: 'able',
    pid: 7,
    uid: 0,
    name: '\u001b]0;x\u0007',
    what: `\u202e${'w'.repeat(300)}`,
  };
  const scan = (changed: object) => ({
    epoch: 0,
    sequence: 0,
    at: 0,
    scanMs: 1,
    detections: [{ detector: 'tools', seen: 'full', reason: '', findings: [{ ...finding, ...changed }] }],
  });
  const [seen] = controlSchemas.scanned.check(scan({}), '$').detections[0]!.findings;
  assert.equal(seen!.name, '?]0;x?');
  assert.equal(seen!.what, `?${'w'.repeat(159)}`);
  for (const wrong of [{ pid: 0.5 }, { pid: 2 ** 40 }, { uid: -2 }, { uid: Number.NaN }, { pid: '7' }, { extra: 1 }])
    assert.throws(() => controlSchemas.scanned.check(scan(wrong), '$'), /does not match its schema/);
  for (const wrong of [
    { code: 'x', count: 1 },
    { code: 'L1_TOKEN_WRONG' },
    { code: 'L1_TOKEN_WRONG', count: 1.5 },
    { code: 'L1_TOKEN_WRONG', count: 1e300 },
  ])
    assert.throws(() => controlSchemas.event.check(wrong, '$'), /does not match its schema/);
});

test('THREAT-MODEL has the same table', () => {
  const text = readFileSync(join(source, '..', 'docs', 'THREAT-MODEL.md'), 'utf8');
  for (const { way, reaches, bitsPerHour } of exposures)
    assert.ok(text.includes(`| ${way} | ${reaches} | ${bitsPerHour} |`), `| ${way} | ${reaches} | ${bitsPerHour} |`);
});
