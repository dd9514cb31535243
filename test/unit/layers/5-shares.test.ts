/** Whose conversation makes room: shares by number and by bytes, and the person's own token last. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { KeyArena } from '../../../src/layers/5-memory/key-arena.ts';
import type { TokenOwner } from '../../../src/layers/5-memory/per-token-usage.ts';
import type { Quotas } from '../../../src/layers/5-memory/quota.ts';
import { defaultQuotas } from '../../../src/layers/5-memory/quota.ts';
import type { Session, SessionKind } from '../../../src/layers/5-memory/session.ts';
import { Vault } from '../../../src/layers/5-memory/vault.ts';
import { mapMemory } from '../../../src/linux/memory/mapped-memory.ts';

const page = 4096;
const work = mapMemory(64 * page);
const person: TokenOwner = { principal: Buffer.alloc(16, 1), operator: true };
const [app, other, third] = [2, 3, 4].map((value): TokenOwner => ({
  principal: Buffer.alloc(16, value),
  operator: false,
})) as [TokenOwner, TokenOwner, TokenOwner];

const make = (quotas: Partial<Quotas>) =>
  new Vault(KeyArena.open(undefined, 64), { ...defaultQuotas, ...quotas }, () => randomBytes(16));

/** A conversation that is idle and takes so many pages; `undefined` when there is no room. */
function idle(
  vault: Vault,
  holder: TokenOwner,
  now: number,
  pages = 1,
  kind: SessionKind = 'kept',
): Session | undefined {
  try {
    const session = vault.create(holder, kind, now);
    const put = vault.put(session, 'history', work, pages * page, now);
    vault.end(session, now);
    if (!put) vault.wipe(session, 'pressure', now);
    return put ? session : undefined;
  } catch (error) {
    assert.match(String((error as { code?: string }).code), /^L5_/);
    return undefined;
  }
}

const states = (sessions: readonly (Session | undefined)[]) => sessions.map((session) => session?.state ?? 'refused');

describe('by number', () => {
  test("L5-27 one token that makes as many as it may, and two, never let the person's go, who keeps even the oldest", () => {
    for (const makers of [[app], [app, other]]) {
      const vault = make({ sessions: 40, sessionsPerToken: 30, continuedPerToken: 10 });
      const hers = Array.from({ length: 5 }, (_, i) => idle(vault, person, i));
      for (let i = 0; i < 400; i += 1)
        for (const maker of makers) idle(vault, maker, 10 + i, 1, i % 4 === 0 ? 'continued' : 'kept');
      assert.ok(vault.size === 40 || makers.length === 1, 'it is full');
      assert.deepEqual(
        states(hers),
        Array.from({ length: 5 }, () => 'idle'),
      );
      assert.ok(hers.every((session) => vault.find(session!.id, person.principal, 1000).kind === 'found'));
      // And when she comes back there is room for her up to her share, at the cost of those beyond theirs.
      const more = Array.from({ length: Math.floor(40 / (makers.length + 1)) - 5 }, (_, i) =>
        idle(vault, person, 1000 + i),
      );
      assert.deepEqual(
        states([...hers, ...more]),
        Array.from({ length: 5 + more.length }, () => 'idle'),
      );
    }
  });

  test('L5-27 another token within its share loses nothing either', () => {
    const vault = make({ sessions: 30, sessionsPerToken: 30 });
    const few = Array.from({ length: 4 }, (_, i) => idle(vault, other, i));
    for (let i = 0; i < 200; i += 1) idle(vault, app, 10 + i);
    idle(vault, third, 300);
    assert.deepEqual(
      states(few),
      Array.from({ length: 4 }, () => 'idle'),
    );
  });

  test('of two tokens beyond their share the one that holds most gives', () => {
    const vault = make({ sessions: 20, sessionsPerToken: 20 });
    const few = Array.from({ length: 8 }, (_, i) => idle(vault, other, i));
    const many = Array.from({ length: 11 }, (_, i) => idle(vault, app, 10 + i));
    for (let i = 0; i < 3; i += 1) assert.equal(idle(vault, third, 30 + i)?.state, 'idle');
    assert.deepEqual(
      [few, many].map((each) => each.filter((session) => session?.state === 'idle').length),
      [8, 9],
    );
  });

  test("the ids of ended conversations of one token do not drive out the other's: 410 stays 410", () => {
    const vault = make({ tombstones: 20 });
    const hers = idle(vault, person, 0)!;
    vault.wipe(hers, 'idle', 1);
    for (let i = 0; i < 100; i += 1) vault.wipe(idle(vault, app, 2 + i)!, 'pressure', 2 + i);
    assert.deepEqual(vault.find(hers.id, person.principal, 200), { kind: 'gone', why: 'idle' });
  });
});

describe('by bytes', () => {
  test("L5-27 the person's one large conversation outlives a flood of small ones, and of large ones", () => {
    for (const size of [1, 3]) {
      const vault = make({ sealedBytes: 20 * page, bytesPerSession: 20 * page });
      const hers = idle(vault, person, 0, 12); // more than half of everything
      const made = Array.from({ length: 100 }, (_, i) => idle(vault, [app, other][i % 2]!, 1 + i, size));
      assert.equal(hers?.state, 'idle');
      assert.ok(
        made.some((session) => session?.state === 'idle'),
        'the others have what is left',
      );
      assert.ok(vault.sealedBytes <= 20 * page);
    }
  });

  test('what a token asks for counts as its own: it does not push out another that holds less than it would', () => {
    const vault = make({ sealedBytes: 20 * page, bytesPerSession: 20 * page });
    const [hers, his, first] = [idle(vault, person, 0, 8), idle(vault, other, 1, 7), idle(vault, app, 2, 5)];
    assert.equal(idle(vault, app, 3, 5)?.state, 'idle');
    assert.deepEqual(states([hers, his, first]), ['idle', 'idle', 'gone']);
  });

  test("the person's oldest makes room for another only while her share is left to her", () => {
    const vault = make({ sealedBytes: 20 * page, bytesPerSession: 20 * page });
    const hers = Array.from({ length: 20 }, (_, i) => idle(vault, person, i));
    const his = Array.from({ length: 15 }, (_, i) => idle(vault, app, 100 + i));
    assert.equal(
      hers.filter((session) => session?.state === 'idle').length,
      19,
      "his second takes his first's place, not hers",
    );
    assert.equal(his.filter((session) => session?.state === 'idle').length, 1);
    assert.equal(idle(vault, other, 200, 8)?.state, 'idle');
    const left = hers.filter((session) => session?.state === 'idle').length;
    assert.ok(left >= 7, `${left} of 20 pages, and a third is 7`);
  });

  test('one small conversation of another token does not halve what the person may hold', () => {
    const vault = make({ sealedBytes: 20 * page, bytesPerSession: 20 * page });
    const hers = Array.from({ length: 19 }, (_, i) => idle(vault, person, i));
    const his = idle(vault, app, 50);
    const more = idle(vault, person, 60);
    assert.equal(his?.state, 'idle', 'he is within his share');
    assert.deepEqual(
      states([...hers, more]),
      ['gone', ...Array.from({ length: 19 }, () => 'idle')],
      'hers make room for hers, one for one',
    );
  });

  test('whoever holds most beyond its share makes room first', () => {
    const vault = make({ sealedBytes: 18 * page, bytesPerSession: 18 * page });
    const middle = Array.from({ length: 5 }, (_, i) => idle(vault, other, i));
    const large = Array.from({ length: 9 }, (_, i) => idle(vault, app, 20 + i));
    const newest = Array.from({ length: 6 }, (_, i) => idle(vault, third, 40 + i));
    assert.deepEqual(
      states(middle),
      Array.from({ length: 5 }, () => 'idle'),
      'the oldest of all, and within a share',
    );
    assert.deepEqual(states(large), ['gone', 'gone', ...Array.from({ length: 7 }, () => 'idle')]);
    assert.deepEqual(
      states(newest),
      Array.from({ length: 6 }, () => 'idle'),
    );
  });
});

test("property: no request of another takes a conversation of a token within its share, and none of the person's below hers", () => {
  const holders = [person, app, other, third];
  const step = fc.record({
    who: fc.nat(3),
    pages: fc.integer({ min: 1, max: 5 }),
    kept: fc.boolean(),
    active: fc.nat(5),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const [sessions, pages] = [12, 24];
      const vault = make({
        sessions,
        sessionsPerToken: 9,
        continuedPerToken: 4,
        sealedBytes: pages * page,
        bytesPerSession: 10 * page,
      });
      const all: { session: Session; who: number }[] = [];
      const held = (who: number) => all.filter((entry) => entry.who === who && entry.session.state !== 'gone');
      const pagesOf = (who: number) =>
        held(who).reduce((sum, { session }) => sum + (session.sealed.get('history')?.capacity ?? 0) / page, 0);
      steps.forEach((wish, now) => {
        const before = holders.map((_, who) => ({ sessions: held(who).length, pages: pagesOf(who), list: held(who) }));
        // What each holds while room is made: the asker's new one counts.
        const count = holders.filter((_, who) => before[who]!.sessions > 0 || who === wish.who).length;
        let session: Session | undefined;
        try {
          session = vault.create(holders[wish.who]!, wish.kept ? 'kept' : 'continued', now);
        } catch {
          /* no room */
        }
        if (session !== undefined) {
          all.push({ session, who: wish.who });
          const put = vault.put(session, 'history', work, wish.pages * page, now);
          if (wish.active > 0 || !put) vault.end(session, now);
        }
        holders.forEach((holder, who) => {
          if (who === wish.who) return;
          const [was, lost] = [before[who]!, before[who]!.list.some((entry) => entry.session.state === 'gone')];
          if (!lost) return;
          assert.ok(
            was.sessions > sessions / count || was.pages > pages / count,
            `${who} lost one within its share to ${wish.who}`,
          );
          if (holder.operator)
            assert.ok(
              held(who).length >= Math.min(was.sessions, sessions / count) ||
                pagesOf(who) >= Math.min(was.pages, pages / count),
              'hers went below her share',
            );
        });
        assert.ok(vault.size <= sessions && vault.sealedBytes <= pages * page);
      });
      vault.wipeAll(1e6);
      assert.deepEqual([vault.size, vault.sealedBytes], [0, 0]);
    }),
    { numRuns: 300 },
  );
});
