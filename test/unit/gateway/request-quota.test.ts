/**
 * Fair shares of requests and bytes, and the places that are kept.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Held, Holder } from '../../../src/gateway/request-quota.ts';
import { Places, placeLimits, Shares } from '../../../src/gateway/request-quota.ts';

const limits = { requests: 8, bodyBytes: 800, personRequests: 2, personBytes: 200 };
const named = (principal: string): Holder => ({ principal, person: false });
const person: Holder = { principal: 'me', person: true };
type One = Held & { id: number };
let last = 0;
const make = (holder: Holder, bytes: number, yields: 0 | 1 | 'never' = 0): One => ({
  id: (last += 1),
  holder,
  bytes,
  yields: () => (yields === 'never' ? undefined : yields),
});

/** Enters a request if there is room, after what has to go has gone. */
function ask(shares: Shares<One>, one: One): One[] | undefined {
  const gone = shares.room(one.holder, one.bytes);
  if (gone === undefined) return undefined;
  for (const other of gone) shares.leave(other);
  shares.enter(one);
  return [...gone];
}

test('one token alone may take everything, and no more', () => {
  const shares = new Shares<One>(limits);
  for (let i = 0; i < 8; i += 1) assert.deepEqual(ask(shares, make(named('a'), 100)), []);
  assert.equal(ask(shares, make(named('a'), 0)), undefined, 'it takes nothing from itself');
});

test('whoever holds more than an equal part gives: half-sent ones first, the latest of the waiting ones then', () => {
  const shares = new Shares<One>(limits);
  const waiting = [make(named('a'), 0, 1), make(named('a'), 0, 1)];
  const halfSent = [make(named('a'), 0, 0), make(named('a'), 0, 0)];
  const answered = Array.from({ length: 4 }, () => make(named('a'), 0, 'never'));
  for (const one of [...waiting, ...halfSent, ...answered]) assert.deepEqual(ask(shares, one), []);
  assert.deepEqual(ask(shares, make(named('b'), 0)), [halfSent[0]]);
  assert.deepEqual(ask(shares, make(named('b'), 0)), [halfSent[1]]);
  assert.deepEqual(ask(shares, make(named('b'), 0)), [waiting[1]]);
  assert.deepEqual(ask(shares, make(named('b'), 0)), [waiting[0]]);
  assert.equal(ask(shares, make(named('b'), 0)), undefined, 'four of eight are an equal part');
  assert.equal(ask(shares, make(named('c'), 0))?.length, 1, 'a third one gets its part of whoever can give');
});

test('bytes count like requests, and whoever has nothing open may send one large body', () => {
  const shares = new Shares<One>(limits);
  for (let i = 0; i < 4; i += 1) ask(shares, make(named('a'), 200));
  for (const name of ['b', 'c', 'd']) assert.equal(ask(shares, make(named(name), 200))?.length, 1, name);
  assert.equal(ask(shares, make(named('b'), 200)), undefined);
});

test('the person has places that no other gets, and gives none', () => {
  const shares = new Shares<One>(limits);
  for (let i = 0; i < 8; i += 1) ask(shares, make(named('a'), 100, 'never'));
  assert.deepEqual(ask(shares, make(person, 100)), []);
  assert.deepEqual(ask(shares, make(person, 100)), []);
  const own = new Shares<One>(limits);
  for (let i = 0; i < 10; i += 1) ask(own, make(person, 100));
  assert.equal(ask(own, make(named('a'), 0)), undefined);
});

test('property: sums never pass the limits, nobody below an equal part loses anything, everything that left is free again', () => {
  const step = fc.record({
    who: fc.constantFrom('a', 'b', 'c', 'me'),
    bytes: fc.integer({ min: 0, max: 200 }),
    yields: fc.constantFrom(0 as const, 1 as const, 'never' as const),
    leave: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const shares = new Shares<One>(limits);
      const open = new Set<One>();
      for (const { who, bytes, yields, leave } of steps) {
        const [first] = open;
        if (leave && first !== undefined) {
          open.delete(first);
          shares.leave(first);
          continue;
        }
        const one = make(who === 'me' ? person : named(who), bytes, yields);
        const before = [...open];
        const gone = ask(shares, one);
        if (gone === undefined) continue;
        const holders = new Set([...before.map((held) => held.holder.principal), who]).size;
        for (const lost of gone) {
          open.delete(lost);
          assert.notEqual(lost.holder.principal, who);
          assert.equal(lost.holder.person, false);
          assert.notEqual(lost.yields(), undefined);
          const theirs = before.filter((held) => held.holder.principal === lost.holder.principal);
          assert.ok(
            theirs.length > Math.max(1, Math.floor(8 / holders)) ||
              theirs.reduce((sum, held) => sum + held.bytes, 0) > Math.floor(800 / holders),
            'only whoever holds too much gives',
          );
        }
        open.add(one);
        const others = [...open].filter((held) => !held.holder.person);
        assert.ok(open.size <= 10 && others.length <= 8);
        assert.ok([...open].reduce((sum, held) => sum + held.bytes, 0) <= 1000);
      }
      for (const held of open) shares.leave(held);
      for (let i = 0; i < 8; i += 1) assert.deepEqual(ask(shares, make(named('z'), 100)), []);
    }),
    { numRuns: 500 },
  );
});

test('places: some for each token, more for the person alone, given back once', () => {
  const places = new Places();
  const taken = Array.from({ length: placeLimits.each }, () => places.take(named('a')));
  assert.ok(taken.every((give) => give !== undefined));
  assert.equal(places.take(named('a')), undefined);
  for (let i = 0; i < placeLimits.named / placeLimits.each - 1; i += 1)
    for (let j = 0; j < placeLimits.each; j += 1) assert.ok(places.take(named(`b${i}`)) !== undefined);
  assert.equal(places.take(named('z')), undefined);
  for (let i = 0; i < placeLimits.person; i += 1)
    assert.ok(places.take(person) !== undefined, 'whatever the others took');
  taken[0]?.();
  taken[0]?.();
  assert.ok(places.take(named('z')) !== undefined);
  assert.equal(places.take(named('z')), undefined, 'one place came back, not two');
});
