/**
 * A test conversation, run with the real key arena and the real cipher before the first real conversation.
 *
 * Promise: no property is inferred from settings. Each one was either observed or is reported as not observed.
 * Proof:   test/unit/layers/5-self-test.test.ts
 * @module
 */
import { copyBytes } from '../../base/bytes.ts';
import type { Address } from '../../linux/memory/mapped-memory.ts';
import { fillMemory, viewMemory } from '../../linux/memory/mapped-memory.ts';
import { randomOwn } from '../../linux/memory/random.ts';
import type { KeyArena } from './key-arena.ts';
import type { Quotas } from './quota.ts';
import { Vault } from './vault.ts';

/** The properties that were observed. */
export type SelfTestResult = { readonly sealing: boolean; readonly idle: boolean };

const holder = { principal: Buffer.alloc(16), operator: false };
const wordsBytes = 1024;
/** Number of bytes that the test needs: the text, and room to decrypt it. */
export const selfTestBytes = 2 * wordsBytes;

/** Runs the test in {@link selfTestBytes} of memory, which it overwrites, and destroys the keys that it used. */
export function runSelfTest(arena: KeyArena, quotas: Quotas, room: Address): SelfTestResult {
  try {
    return { sealing: trySealing(arena, quotas, room), idle: tryIdleness(arena, quotas) };
  } finally {
    fillMemory(room, selfTestBytes);
  }
}

/**
 * Returns whether the ciphertext differs from the text, decrypts to it, and is refused if one bit is changed, and
 * whether a wipe destroys the key and overwrites the ciphertext.
 */
function trySealing(arena: KeyArena, quotas: Quotas, room: Address): boolean {
  const words = viewMemory(room, wordsBytes).fill('made up ');
  const opened = viewMemory(room + BigInt(wordsBytes), wordsBytes);
  const keys = arena.live;
  const seen = { ciphertext: words, overwritten: false };
  const vault = new Vault(
    arena,
    quotas,
    () => randomOwn(16),
    (address) => {
      seen.overwritten = !viewMemory(address, wordsBytes).equals(seen.ciphertext);
    },
  );
  const session = vault.create(holder, 'kept', 0);
  const opens = () => vault.open(session, 'history', room + BigInt(wordsBytes));
  const put = vault.put(session, 'history', room, wordsBytes, 0);
  const sealed = session.sealed.get('history');
  if (!put || sealed === undefined) return false;
  const inPlace = viewMemory(sealed.address, wordsBytes);
  seen.ciphertext = copyBytes(inPlace);
  const flip = () => inPlace.writeUInt8(inPlace.readUInt8(wordsBytes >> 1) ^ 1, wordsBytes >> 1);
  const reads = !seen.ciphertext.includes('made up') && opens() && opened.equals(words);
  flip();
  const changed = opens();
  flip();
  vault.wipe(session, 'ended', 0);
  return reads && !changed && seen.overwritten && !opens() && arena.live === keys;
}

/** Returns whether a conversation is never idle during a turn, and is wiped on time after it, but not earlier. */
function tryIdleness(arena: KeyArena, quotas: Quotas): boolean {
  const vault = new Vault(arena, quotas, () => randomOwn(16));
  const session = vault.create(holder, 'kept', 0);
  const { idleMs } = quotas;
  const active = vault.reap(2 * idleMs);
  vault.end(session, 2 * idleMs);
  return (
    active === 0 &&
    vault.reap(3 * idleMs - 1) === 0 &&
    vault.reap(3 * idleMs) === 1 &&
    vault.find(session.id, holder.principal, 3 * idleMs).kind === 'gone'
  );
}
