/** What the status says of layer 5: enforced only what was tried, degraded whatever is weaker than promised. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryChecks } from '../../../src/supervisor/memory-checks.ts';
import type { EngineFacts } from '../../../src/wire/control-payloads.ts';

const memory: EngineFacts['memory'] = {
  arena: 'secret',
  reason: '',
  arenaBytes: 1,
  workingBytes: 8 << 20,
  workingLockedBytes: 2 << 20,
  kv: 'sealed',
  idleSeconds: 60,
  continueSeconds: 600,
  sealedBytes: 1 << 30,
  sessions: 100,
  tried: { sealing: true, idle: true },
};
const titles = 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n';

function statusOf(id: string, change: Partial<EngineFacts['memory']> = {}, swaps = titles): string {
  const facts = { memory: { ...memory, ...change } } as EngineFacts;
  return (
    memoryChecks(facts, swaps, { presentBytes: 4096, engines: 0, overwrittenBytes: 0 }, 1).find(
      (check) => check.id === id,
    )?.status ?? 'missing'
  );
}

test('L5-10 swap on a disk, in a file or in memory, or a list that cannot be read: degraded; none: enforced', () => {
  assert.equal(statusOf('swap'), 'enforced');
  for (const area of [
    '/dev/sda2                               partition\t2097148\t\t0\t\t-2',
    '/swapfile file 1048576 0 -2',
    '/dev/zram0 partition 1048576 12 100',
  ])
    assert.equal(statusOf('swap', {}, `${titles}${area}\n`), 'degraded', area);
  assert.equal(statusOf('swap', {}, ''), 'degraded');
});

test('L5-16 L5-18 what was not seen to work is off, whatever is configured', () => {
  assert.deepEqual([statusOf('sealing'), statusOf('idle')], ['enforced', 'enforced']);
  assert.equal(statusOf('sealing', { kv: 'keep' }), 'degraded');
  assert.equal(statusOf('sealing', { tried: { sealing: false, idle: true } }), 'off');
  assert.equal(statusOf('idle', { tried: { sealing: true, idle: false } }), 'off');
});

test('L5-32 keys that others could read are degraded', () => {
  assert.deepEqual(
    [
      statusOf('keys'),
      statusOf('keys', { arena: 'locked', reason: 'x' }),
      statusOf('keys', { arena: 'plain', reason: 'x' }),
    ],
    ['enforced', 'degraded', 'degraded'],
  );
});
