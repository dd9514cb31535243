/** Seals: what was sealed opens once, for its owner, under its key, and in no other form. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createDecipheriv, createHmac } from 'node:crypto';
import { test } from 'node:test';
import { KeyArena } from '../../../src/layers/5-memory/key-arena.ts';
import { SessionCipher } from '../../../src/layers/5-memory/session-cipher.ts';
import { SealedBuffer } from '../../../src/layers/5-memory/sealed-buffer.ts';
import { mapMemory, viewMemory } from '../../../src/linux/memory/mapped-memory.ts';
import { authenticateMemory } from '../../../src/linux/memory/openssl.ts';

const arena = KeyArena.open(undefined, 64);
const cipher = new SessionCipher();
const owner = () => ({ idBytes: randomBytes(16), principal: randomBytes(16) });

function sealedText(text: Buffer, place: number, who: ReturnType<typeof owner>, sequence = 1): SealedBuffer {
  const from = mapMemory(65536);
  viewMemory(from, text.length).set(text);
  const sealed = new SealedBuffer(text.length);
  cipher.seal(arena.at(place), who, 'state', sequence, from, text.length, sealed);
  return sealed;
}

test('what was sealed opens, is AES-256-GCM as node:crypto knows it, and holds no plaintext', () => {
  const who = owner();
  const place = arena.take()!;
  const text = Buffer.from('a conversation '.repeat(300));
  const sealed = sealedText(text, place, who, 7);
  assert.ok(!viewMemory(sealed.address, sealed.capacity).includes('conversation'));
  const to = mapMemory(65536);
  assert.ok(cipher.open(arena.at(place), who, 'state', sealed, to));
  assert.ok(viewMemory(to, text.length).equals(text));

  const nonce = Buffer.alloc(12);
  nonce.writeBigUInt64LE(7n);
  nonce.writeUInt32LE(2, 8);
  const binding = Buffer.alloc(41);
  binding.set(who.idBytes);
  binding.set(who.principal, 16);
  binding[32] = 2;
  binding.writeBigUInt64LE(7n, 33);
  const other = createDecipheriv('aes-256-gcm', Buffer.from(viewMemory(arena.at(place), 32)), nonce)
    .setAAD(binding)
    .setAuthTag(sealed.tag);
  assert.ok(Buffer.concat([other.update(viewMemory(sealed.address, sealed.bytes)), other.final()]).equals(text));
});

test('L5-17 another key, id, owner, kind, count, tag or bit does not open it', () => {
  const who = owner();
  const place = arena.take()!;
  const sealed = sealedText(Buffer.from('words'), place, who);
  const to = mapMemory(4096);
  const open = (key = place, as = who, part: 'state' | 'history' = 'state') =>
    cipher.open(arena.at(key), as, part, sealed, to);
  assert.ok(open());
  assert.ok(!open(arena.take()));
  assert.ok(!open(place, { ...who, idBytes: randomBytes(16) }));
  assert.ok(!open(place, { ...who, principal: randomBytes(16) }));
  assert.ok(!open(place, who, 'history'));
  sealed.sequence = 2;
  assert.ok(!open());
  sealed.sequence = 1;
  sealed.tag[0]! ^= 1;
  assert.ok(!open());
  sealed.tag[0]! ^= 1;
  viewMemory(sealed.address, 1)[0]! ^= 1;
  assert.ok(!open());
  viewMemory(sealed.address, 1)[0]! ^= 1;
  assert.ok(open());
});

test('L5-17 equal words sealed again are other bytes: the nonce counts', () => {
  const who = owner();
  const place = arena.take()!;
  const seen = new Set(
    [1, 2, 3].map((sequence) =>
      Buffer.from(viewMemory(sealedText(Buffer.alloc(64), place, who, sequence).address, 64)).toString('hex'),
    ),
  );
  assert.equal(seen.size, 3);
});

test('before memory is given back it is random: neither the old bytes nor a constant', () => {
  const sealed = sealedText(Buffer.from('x'.repeat(9000)), arena.take()!, owner());
  const before = Buffer.from(viewMemory(sealed.address, sealed.capacity));
  let after: Buffer | undefined;
  sealed.wipe((address, bytes) => {
    after = Buffer.from(viewMemory(address, bytes));
  });
  sealed.wipe(() => assert.fail('a second time'));
  assert.ok(after !== undefined);
  let equal = 0;
  for (let i = 0; i < before.length; i += 1) if (before[i] === after[i]) equal += 1;
  assert.ok(equal < before.length / 64, `${equal} of ${before.length} bytes are the old ones`);
  assert.ok(new Set(after).size > 250);
});

test('HMAC-SHA-256 over pieces is that of the whole', () => {
  const place = arena.take()!;
  const at = mapMemory(4096);
  viewMemory(at, 11).set(Buffer.from('hello world'));
  authenticateMemory(
    arena.at(place),
    [
      { address: at, bytes: 5 },
      { address: at + 5n, bytes: 6 },
    ],
    at + 64n,
  );
  assert.ok(
    createHmac('sha256', Buffer.from(viewMemory(arena.at(place), 32)))
      .update('hello world')
      .digest()
      .equals(viewMemory(at + 64n, 32)),
  );
});
