/**
 * Fair quota of requests and bytes, and the places that are kept.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { QuotaEntry, TokenHolder } from '../../../src/gateway/request-quota.ts';
import { ReservedSlots, reservedSlotLimits, RequestQuota } from '../../../src/gateway/request-quota.ts';

const limits = { requests: 8, bodyBytes: 800, operatorRequests: 2, operatorBytes: 200 };
const named = (principal: string): TokenHolder => ({ principal, isOperator: false });
const operator: TokenHolder = { principal: 'me', isOperator: true };
type One = QuotaEntry & { id: number };
let last = 0;
const make = (holder: TokenHolder, bytes: number, rank: 0 | 1 | 'never' = 0): One => ({
  id: (last += 1),
  holder,
  bytes,
  evictionRank: () => (rank === 'never' ? undefined : rank),
});

/** Adds a request if it fits, after evicting others. */
function ask(quota: RequestQuota<One>, one: One): One[] | undefined {
  const gone = quota.evictionsFor(one.holder, one.bytes);
  if (gone === undefined) return undefined;
  for (const other of gone) quota.remove(other);
  quota.add(one);
  return [...gone];
}

test('one token alone may use the whole quota, and no more', () => {
  const quota = new RequestQuota<One>(limits);
  for (let i = 0; i < 8; i += 1) assert.deepEqual(ask(quota, make(named('a'), 100)), []);
  assert.equal(ask(quota, make(named('a'), 0)), undefined, 'it evicts none of its own requests');
});

test('a token above its fair share loses requests: half-sent ones first, then the latest waiting ones', () => {
  const quota = new RequestQuota<One>(limits);
  const waiting = [make(named('a'), 0, 1), make(named('a'), 0, 1)];
  const halfSent = [make(named('a'), 0, 0), make(named('a'), 0, 0)];
  const answered = Array.from({ length: 4 }, () => make(named('a'), 0, 'never'));
  for (const one of [...waiting, ...halfSent, ...answered]) assert.deepEqual(ask(quota, one), []);
  assert.deepEqual(ask(quota, make(named('b'), 0)), [halfSent[0]]);
  assert.deepEqual(ask(quota, make(named('b'), 0)), [halfSent[1]]);
  assert.deepEqual(ask(quota, make(named('b'), 0)), [waiting[1]]);
  assert.deepEqual(ask(quota, make(named('b'), 0)), [waiting[0]]);
  assert.equal(ask(quota, make(named('b'), 0)), undefined, 'four of eight are a fair share');
  assert.equal(ask(quota, make(named('c'), 0))?.length, 1, 'a third token gets its share from whichever is evictable');
});

test('bytes count like requests, and a token without open requests may send one large body', () => {
  const quota = new RequestQuota<One>(limits);
  for (let i = 0; i < 4; i += 1) ask(quota, make(named('a'), 200));
  for (const name of ['b', 'c', 'd']) assert.equal(ask(quota, make(named(name), 200))?.length, 1, name);
  assert.equal(ask(quota, make(named('b'), 200)), undefined);
});

test('the operator has room that no other token gets, and is never evicted', () => {
  const quota = new RequestQuota<One>(limits);
  for (let i = 0; i < 8; i += 1) ask(quota, make(named('a'), 100, 'never'));
  assert.deepEqual(ask(quota, make(operator, 100)), []);
  assert.deepEqual(ask(quota, make(operator, 100)), []);
  const own = new RequestQuota<One>(limits);
  for (let i = 0; i < 10; i += 1) ask(own, make(operator, 100));
  assert.equal(ask(own, make(named('a'), 0)), undefined);
});

test('property: sums stay within the limits, no token below its fair share is evicted, and removed entries free their room', () => {
  const step = fc.record({
    who: fc.constantFrom('a', 'b', 'c', 'me'),
    bytes: fc.integer({ min: 0, max: 200 }),
    yields: fc.constantFrom(0 as const, 1 as const, 'never' as const),
    leave: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const quota = new RequestQuota<One>(limits);
      const open = new Set<One>();
      for (const { who, bytes, yields, leave } of steps) {
        const [first] = open;
        if (leave && first !== undefined) {
          open.delete(first);
          quota.remove(first);
          continue;
        }
        const one = make(who === 'me' ? operator : named(who), bytes, yields);
        const before = [...open];
        const gone = ask(quota, one);
        if (gone === undefined) continue;
        const holders = new Set([...before.map((entry) => entry.holder.principal), who]).size;
        for (const lost of gone) {
          open.delete(lost);
          assert.notEqual(lost.holder.principal, who);
          assert.equal(lost.holder.isOperator, false);
          assert.notEqual(lost.evictionRank(), undefined);
          const theirs = before.filter((entry) => entry.holder.principal === lost.holder.principal);
          assert.ok(
            theirs.length > Math.max(1, Math.floor(8 / holders)) ||
              theirs.reduce((sum, entry) => sum + entry.bytes, 0) > Math.floor(800 / holders),
            'only a token above its fair share loses requests',
          );
        }
        open.add(one);
        const others = [...open].filter((entry) => !entry.holder.isOperator);
        assert.ok(open.size <= 10 && others.length <= 8);
        assert.ok([...open].reduce((sum, entry) => sum + entry.bytes, 0) <= 1000);
      }
      for (const entry of open) quota.remove(entry);
      for (let i = 0; i < 8; i += 1) assert.deepEqual(ask(quota, make(named('z'), 100)), []);
    }),
    { numRuns: 500 },
  );
});

test('reserved slots: some for each token, more for the operator alone, released once', () => {
  const slots = new ReservedSlots();
  const taken = Array.from({ length: reservedSlotLimits.each }, () => slots.acquire(named('a')));
  assert.ok(taken.every((release) => release !== undefined));
  assert.equal(slots.acquire(named('a')), undefined);
  for (let i = 0; i < reservedSlotLimits.named / reservedSlotLimits.each - 1; i += 1)
    for (let j = 0; j < reservedSlotLimits.each; j += 1) assert.ok(slots.acquire(named(`b${i}`)) !== undefined);
  assert.equal(slots.acquire(named('z')), undefined);
  for (let i = 0; i < reservedSlotLimits.operator; i += 1)
    assert.ok(slots.acquire(operator) !== undefined, 'however many the others took');
  taken[0]?.();
  taken[0]?.();
  assert.ok(slots.acquire(named('z')) !== undefined);
  assert.equal(slots.acquire(named('z')), undefined, 'one slot was released, not two');
});
