/**
 * From findings to what is done: both profiles, mixed causes, blindness.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DetectorId, Relation } from '../../../src/base/detection.ts';
import type { Detection, Finding } from '../../../src/layers/6-intrusion/finding.ts';
import { cleanName } from '../../../src/layers/6-intrusion/finding.ts';
import { initialAssessment, assessScan, violationOf, weightOf } from '../../../src/layers/6-intrusion/escalation.ts';
import type { Profile, Assessment } from '../../../src/layers/6-intrusion/escalation.ts';

const finding = (detector: DetectorId, relation: Relation, tool?: string): Finding => ({
  detector,
  relation,
  pid: 7,
  uid: 0,
  name: 'x',
  what: 'y',
  ...(tool === undefined ? {} : { tool }),
});
const scan = (...findings: Finding[]): Detection[] => [{ detector: 'tracer', seen: 'full', reason: '', findings }];

function run(profile: Profile, scans: readonly (readonly Finding[])[]): Assessment {
  return scans.reduce(
    (standing, findings) => assessScan(standing, scan(...findings), profile, ['acknowledged']),
    initialAssessment,
  );
}

const weights: readonly (readonly [Relation, string | undefined, Profile, string])[] = [
  ['effect', undefined, 'person', 'count'],
  ['effect', undefined, 'installed', 'count'],
  ['effect', 'acknowledged', 'person', 'count'],
  ['able', 'gdb', 'person', 'yellow'],
  ['able', 'gdb', 'installed', 'count'],
  ['able', 'acknowledged', 'person', 'note'],
  ['able', 'acknowledged', 'installed', 'count'],
  ['stranger', 'gdb', 'person', 'note'],
  ['stranger', 'gdb', 'installed', 'note'],
];
for (const [relation, tool, profile, weight] of weights) {
  test(`L6-10 ${relation}${tool === undefined ? '' : ` (${tool})`} in profile ${profile} is worth: ${weight}`, () => {
    assert.equal(weightOf(finding('tools', relation, tool), profile, ['acknowledged']), weight);
  });
}

test('L6-19 exactly two scans, of mixed causes too', () => {
  const [a, b] = [finding('tracer', 'effect'), finding('capture', 'effect')];
  assert.equal(run('person', [[a]]).level, 'detected');
  assert.equal(run('person', [[a, b, a, b]]).level, 'detected', 'many in one scan count once');
  assert.equal(run('person', [[a], [b]]).level, 'confirmed');
  assert.equal(run('person', [[a], []]).level, 'clean');
  assert.equal(run('person', [[a], [], [b], [], [a]]).level, 'confirmed', 'L6-21');
});

test('yellow alone never ends a server', () => {
  const tool = finding('tools', 'able', 'gdb');
  const standing = run(
    'person',
    Array.from({ length: 100 }, () => [tool]),
  );
  assert.deepEqual([standing.level, standing.count], ['yellow', 0]);
  assert.equal(run('installed', [[tool], [tool]]).level, 'confirmed');
});

test('L6-15 a detector that cannot see what it should is named, and its scan is not called clean by it', () => {
  const blind = assessScan(
    initialAssessment,
    [
      { detector: 'tools', seen: 'unreadable', reason: 'r', findings: [] },
      { detector: 'sockets', seen: 'not-available', reason: 'r', findings: [] },
    ],
    'person',
    [],
  );
  assert.deepEqual(blind.blind, ['tools']);
});

test('C25 a violation is metadata: the first finding that counted', () => {
  assert.deepEqual(
    violationOf(
      run('person', [
        [finding('tools', 'stranger'), finding('memory', 'effect')],
        [finding('tools', 'stranger'), finding('memory', 'effect')],
      ]),
    ),
    { code: 'L6_VIOLATION', detector: 'memory', pid: 7, uid: 0, name: 'x' },
  );
});

test('L6-16 names are printable, short and never empty', () => {
  for (const [name, clean] of [
    ['/usr/bin/gdb', 'gdb'],
    ['a\n\u001b]0;x\u0007b', 'a??]0;x?b'],
    ['', '?'],
    ['ü', '?'],
    ['/', '?'],
  ] as const)
    assert.equal(cleanName(name), clean);
  assert.equal(cleanName('x'.repeat(500)).length, 64);
});
