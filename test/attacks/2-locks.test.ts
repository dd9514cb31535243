/**
 * Layer 2: each lock by itself, with the others left out (L2-24), so that one does not hide that another is missing.
 * @module
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import {
  blockedAlone,
  isBlocked,
  locks,
  attemptsFor,
  featuresToDisable,
} from '../../src/layers/2-isolation/probe/probe-verdict.ts';
import type { Lock } from '../../src/layers/2-isolation/probe/probe-verdict.ts';
import { probeRole } from '../../src/layers/2-isolation/probe/probe-runner.ts';
import { localAttempts } from '../../src/layers/2-isolation/probe/local-attempts.ts';
import { aimAt, jailFor, probe, programsFor, starters } from '../support/probe.ts';

const { aim, service } = await aimAt();
after(() => service.close());

for (const { who, uid } of starters) {
  const asRoot = process.getuid?.() === 0 && uid === undefined;
  for (const alone of Object.keys(locks) as Lock[]) {
    for (const role of ['gateway', 'engine', 'watchdog'] as const) {
      const absent = (alone === 'network-namespace' && !asRoot) || (alone === 'landlock' && role === 'watchdog');
      test(`${alone} alone in the ${role} of ${who}: ${absent ? 'is not there and says so' : `holds ${blockedAlone[alone].join(', ')}`}`, async () => {
        const result = await probeRole(programsFor(uid), { role, alone }, jailFor(uid), aim);
        assert.equal(
          result.status,
          absent ? 'absent' : 'blocked',
          `${result.reason} ${JSON.stringify([...result.answers])}`,
        );
        if (absent) assert.notEqual(result.reason, '');
      });
      if (absent) continue;
      test(`${alone} is what held that: without it the ${role} of ${who} gets out`, async () => {
        const ways = attemptsFor(alone);
        const { answers } = await probe(uid, role, aim, ways, [...featuresToDisable(alone), ...locks[alone]]);
        assert.deepEqual(
          ways.filter((way) => isBlocked(answers.get(way) ?? -1)),
          [],
        );
      });
    }
  }

  test(`the filter alone blocks every local attempt in the gateway and the engine of ${who}`, async () => {
    const every = Object.keys(localAttempts);
    for (const role of ['gateway', 'engine'] as const) {
      const { answers, complete, output } = await probe(uid, role, aim, every, featuresToDisable('seccomp'));
      assert.ok(complete, output);
      assert.deepEqual(
        every.filter((id) => !isBlocked(answers.get(id) ?? 0)),
        [],
      );
    }
  });

  test(`Landlock alone holds files and signals in the gateway and the engine of ${who}`, async () => {
    const some = ['read-file', 'write-tmp', 'write-shm', 'signal', 'ptrace', 'open-memory'];
    for (const role of ['gateway', 'engine'] as const) {
      const { answers } = await probe(uid, role, aim, some, featuresToDisable('landlock'));
      assert.deepEqual(
        some.filter((id) => !isBlocked(answers.get(id) ?? 0)),
        [],
      );
    }
  });
}
