/** Keys in secret memory: fresh, apart, overwritten, and hidden from every other process. */
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { test } from 'node:test';
import { KeyArena, arenaBytes } from '../../../src/layers/5-memory/key-arena.ts';
import {
  growMemory,
  makeSecretMemory,
  mapMemory,
  unmapMemory,
  viewMemory,
} from '../../../src/linux/memory/mapped-memory.ts';
import { keyBytes } from '../../../src/linux/memory/openssl.ts';

function secretArena(capacity?: number): KeyArena {
  const fd = makeSecretMemory(capacity === undefined ? arenaBytes : Math.ceil((capacity * keyBytes) / 4096) * 4096);
  const arena = KeyArena.open(fd, capacity);
  closeSync(fd);
  return arena;
}

const keyOf = (arena: KeyArena, place: number) => Buffer.from(viewMemory(arena.at(place), keyBytes)).toString('hex');

test('keys are fresh and apart, and a place is never given out with its former key', () => {
  const arena = secretArena(256);
  const seen = new Set<string>();
  const places = Array.from({ length: 256 }, () => arena.take()!);
  for (const place of places) seen.add(keyOf(arena, place));
  assert.equal(seen.size, 256);
  assert.equal(arena.take(), undefined, 'every place is taken');
  for (const place of places.slice(0, 100)) arena.destroy(place);
  assert.equal(arena.live, 156);
  for (let i = 0; i < 100; i += 1) seen.add(keyOf(arena, arena.take()!));
  assert.equal(seen.size, 356);
});

test('a destroyed key is zeros and cannot be used; destroying is idempotent; all of them go at once', () => {
  const arena = secretArena(64);
  const place = arena.take()!;
  const address = arena.at(place);
  arena.destroy(place);
  arena.destroy(place);
  assert.ok(viewMemory(address, keyBytes).every((byte) => byte === 0));
  assert.throws(() => arena.at(place), /BUG/);
  const others = [arena.take()!, arena.take()!];
  const addresses = others.map((other) => arena.at(other));
  arena.destroyAll();
  assert.equal(arena.live, 0);
  for (const at of addresses) assert.ok(viewMemory(at, keyBytes).every((byte) => byte === 0));
});

test('secret memory cannot be read through /proc/self/mem, and only pages that were used are hidden', () => {
  const arena = secretArena();
  assert.equal(arena.kind, 'secret');
  const address = arena.at(arena.take()!);
  const line = readFileSync('/proc/self/maps', 'latin1')
    .split('\n')
    .find((text) => BigInt(`0x${text.split('-')[0]!}`) === address);
  assert.match(line ?? '', /rw-s .*secretmem/);
  const memory = openSync('/proc/self/mem', 'r');
  try {
    assert.throws(() => readSync(memory, Buffer.alloc(keyBytes), 0, keyBytes, address), /EIO|EFAULT/);
  } finally {
    closeSync(memory);
  }
});

test('without memfd_secret it says so and goes on', () => {
  const arena = KeyArena.open(undefined, 16);
  assert.ok(arena.kind === 'locked' || arena.kind === 'plain');
  assert.notEqual(arena.reason, '');
  assert.equal(keyOf(arena, arena.take()!).length, 64);
});

test('memory grows with its content and is given back', () => {
  const address = mapMemory(4096);
  viewMemory(address, 4).set([1, 2, 3, 4]);
  const grown = growMemory(address, 4096, 1 << 20);
  assert.deepEqual([...viewMemory(grown, 4)], [1, 2, 3, 4]);
  unmapMemory(grown, 1 << 20);
  assert.ok(!readFileSync('/proc/self/maps', 'latin1').includes(`${grown.toString(16)}-`));
});
