/** The life of a made-up conversation: seen as promised, and told apart where something does not do what it says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyArena } from '../../../src/layers/5-memory/key-arena.ts';
import { SessionCipher } from '../../../src/layers/5-memory/session-cipher.ts';
import { defaultQuotas } from '../../../src/layers/5-memory/quota.ts';
import { selfTestBytes, runSelfTest } from '../../../src/layers/5-memory/self-test.ts';
import { SealedBuffer } from '../../../src/layers/5-memory/sealed-buffer.ts';
import { Vault } from '../../../src/layers/5-memory/vault.ts';
import { mapMemory, viewMemory } from '../../../src/linux/memory/mapped-memory.ts';

const room = mapMemory(selfTestBytes);

test('what works is seen to work, at any idle time; no key and no word is left of it', () => {
  for (const idleMs of [1000, defaultQuotas.idleMs]) {
    const arena = KeyArena.open(undefined, 4);
    assert.deepEqual(runSelfTest(arena, { ...defaultQuotas, idleMs }, room), { sealing: true, idle: true });
    assert.equal(arena.live, 0);
    assert.ok(viewMemory(room, selfTestBytes).every((byte) => byte === 0));
  }
});

test('what does not seal, refuse, overwrite, destroy or reap is told', (t) => {
  const tried = () => runSelfTest(KeyArena.open(undefined, 4), defaultQuotas, room);
  const opens = Object.getOwnPropertyDescriptor(SessionCipher.prototype, 'open')?.value as SessionCipher['open'];
  for (const [what, broken] of [
    [
      'words stay as they are',
      () =>
        t.mock.method(
          SessionCipher.prototype,
          'seal',
          (...[, , , sequence, from, bytes, into]: Parameters<SessionCipher['seal']>) => {
            viewMemory(into.address, bytes).set(viewMemory(from, bytes));
            into.bytes = bytes;
            into.sequence = sequence;
          },
        ),
    ],
    [
      'a changed bit is let through',
      () =>
        t.mock.method(
          SessionCipher.prototype,
          'open',
          function open(this: SessionCipher, ...args: Parameters<SessionCipher['open']>) {
            opens.apply(this, args);
            return true;
          },
        ),
    ],
    ['nothing can be opened', () => t.mock.method(SessionCipher.prototype, 'open', () => false)],
    ['nothing is overwritten', () => t.mock.method(SealedBuffer.prototype, 'wipe', () => undefined)],
    ['the key stays', () => t.mock.method(KeyArena.prototype, 'destroy', () => undefined)],
  ] as const) {
    const mocked = broken();
    assert.equal(tried().sealing, false, what);
    mocked.mock.restore();
  }
  for (const reap of [() => 0, () => 1]) {
    const mocked = t.mock.method(Vault.prototype, 'reap', reap);
    assert.deepEqual(tried(), { sealing: true, idle: false });
    mocked.mock.restore();
  }
});
