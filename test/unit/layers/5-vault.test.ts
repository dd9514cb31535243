/** The vault: ids and owners, order of a wipe, idleness, pressure, quotas, and all of it in random order. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { KeyArena } from '../../../src/layers/5-memory/key-arena.ts';
import type { Quotas } from '../../../src/layers/5-memory/quota.ts';
import { sessionByteLimit, defaultQuotas } from '../../../src/layers/5-memory/quota.ts';
import type { Session } from '../../../src/layers/5-memory/session.ts';
import { Fingerprinter } from '../../../src/layers/5-memory/history-hash.ts';
import { Vault } from '../../../src/layers/5-memory/vault.ts';
import { mapMemory, viewMemory } from '../../../src/linux/memory/mapped-memory.ts';

const work = mapMemory(1 << 20);
const alice = Buffer.alloc(16, 1);
const bob = Buffer.alloc(16, 2);
/** Two named tokens; shares.test.ts has the person's. */
const holder = (principal: Buffer) => ({ principal, operator: false });

function make(quotas: Partial<Quotas> = {}, look?: (bytes: Buffer) => void): { vault: Vault; arena: KeyArena } {
  const arena = KeyArena.open(undefined, 64);
  return {
    arena,
    vault: new Vault(
      arena,
      { ...defaultQuotas, ...quotas },
      () => randomBytes(16),
      look === undefined
        ? undefined
        : (address, bytes) => {
            look(Buffer.from(viewMemory(address, bytes)));
          },
    ),
  };
}

function fill(vault: Vault, session: Session, text: string, now: number): boolean {
  viewMemory(work, text.length).set(Buffer.from(text));
  return vault.put(session, 'history', work, text.length, now);
}

function read(vault: Vault, session: Session): string | undefined {
  const bytes = vault.length(session, 'history');
  if (!vault.open(session, 'history', work)) return undefined;
  return viewMemory(work, bytes).toString();
}

/** A kept conversation that said something and is idle. */
function idle(vault: Vault, text: string, now = 0, principal = alice): Session {
  const session = vault.create(holder(principal), 'kept', now);
  assert.ok(fill(vault, session, text, now));
  vault.end(session, now);
  return session;
}

describe('ids and owners', () => {
  test('L5-08 a foreign id and an unknown one get the same answer; the owner gets the conversation', () => {
    const { vault } = make();
    const session = idle(vault, 'hers');
    assert.match(session.id, /^[0-9a-f]{32}$/);
    assert.equal(vault.find(session.id, alice, 0).kind, 'found');
    assert.deepEqual(vault.find(session.id, bob, 0), vault.find('0'.repeat(32), bob, 0));
    vault.wipe(session, 'idle', 1);
    assert.deepEqual(vault.find(session.id, alice, 1), { kind: 'gone', why: 'idle' });
    assert.deepEqual(vault.find(session.id, bob, 1), { kind: 'unknown' });
    assert.deepEqual(vault.find(session.id, alice, 1 + defaultQuotas.tombstoneMs + 1), { kind: 'unknown' });
  });

  test('what was ended on purpose is unknown afterwards, and wiping twice is once', () => {
    const { vault, arena } = make();
    const session = idle(vault, 'words');
    vault.wipe(session, 'ended', 1);
    vault.wipe(session, 'pressure', 2);
    assert.equal(vault.find(session.id, alice, 2).kind, 'unknown');
    assert.deepEqual([vault.size, vault.sealedBytes, arena.live], [0, 0, 0]);
  });
});

describe('the end of a conversation', () => {
  test('key first, then random bytes, then free: nothing of it can be opened, sealed or begun', () => {
    const pieces: Buffer[] = [];
    const { vault, arena } = make({}, (bytes) => {
      assert.equal(arena.live, 0, 'the key went first');
      pieces.push(bytes);
    });
    const session = idle(vault, 'plain words '.repeat(50));
    const before = Buffer.from(viewMemory(session.sealed.get('history')!.address, 600));
    vault.wipe(session, 'ended', 1);
    assert.equal(pieces.length, 1);
    assert.ok(!pieces[0]!.includes(before.subarray(0, 32)));
    assert.ok(new Set(pieces[0]).size > 200, 'no constant');
    assert.ok(!fill(vault, session, 'again', 2));
    assert.equal(read(vault, session), undefined);
    assert.ok(!vault.begin(session, 2));
    vault.end(session, 3);
    assert.equal(session.state, 'gone');
  });

  test('a part that shrinks: what it does not need any more is random before it is given back, and so is a whole part', () => {
    const pieces: Buffer[] = [];
    const { vault } = make({}, (bytes) => {
      pieces.push(bytes);
    });
    const session = idle(vault, 'plain words '.repeat(2000));
    const { address, capacity } = session.sealed.get('history')!;
    const before = Buffer.from(viewMemory(address, capacity));
    assert.ok(vault.begin(session, 1));
    assert.ok(fill(vault, session, 'less', 1));
    assert.deepEqual(
      pieces.map((piece) => piece.length),
      [capacity - 4096],
      'all but the page that is used again',
    );
    const tail = before.subarray(4096, 24_000);
    let equal = 0;
    for (let i = 0; i < tail.length; i += 1) if (tail[i] === pieces[0]![i]) equal += 1;
    assert.ok(equal < tail.length / 64, `${equal} of ${tail.length} bytes are the old ones`);
    assert.ok(new Set(pieces[0]).size > 200, 'no constant');
    assert.equal(read(vault, session), 'less');
    vault.drop(session, 'history');
    assert.equal(pieces.length, 2);
  });

  test('L5-15 a wipe under a turn breaks the turn off, and its end seals nothing', () => {
    const { vault } = make();
    const session = idle(vault, 'first');
    assert.ok(vault.begin(session, 1));
    let aborted = 0;
    session.abort = () => {
      aborted += 1;
    };
    vault.wipe(session, 'ended', 2);
    assert.equal(aborted, 1);
    assert.ok(!fill(vault, session, 'late', 3));
    vault.end(session, 3);
    assert.deepEqual([vault.size, vault.sealedBytes], [0, 0]);
  });

  test('all at once: every key is gone before the first content is overwritten', () => {
    const { vault, arena } = make({}, () => {
      assert.equal(arena.live, 0);
    });
    for (let i = 0; i < 20; i += 1) idle(vault, `conversation ${i}`, i, i % 2 === 0 ? alice : bob);
    assert.equal(vault.wipeAll(100), 20);
    assert.equal(vault.wipeAll(100), 0);
    assert.deepEqual([vault.size, vault.sealedBytes, arena.live], [0, 0, 0]);
  });
});

describe('time', () => {
  test('L5-16 idle for too long is gone; an active turn is not idle however long it takes', () => {
    const { vault } = make({ idleMs: 1000, continueMs: 100 });
    const kept = idle(vault, 'kept');
    const active = idle(vault, 'active');
    vault.begin(active, 0);
    const continued = vault.create(holder(alice), 'continued', 0);
    vault.end(continued, 0);
    assert.equal(vault.reap(99), 0);
    assert.equal(vault.reap(100), 1);
    assert.equal(vault.reap(999), 0);
    assert.equal(vault.reap(1000), 1);
    assert.deepEqual(vault.find(kept.id, alice, 1000), { kind: 'gone', why: 'idle' });
    assert.equal(vault.reap(1e9), 0);
    vault.end(active, 1e9);
    assert.equal(vault.reap(1e9 + 999), 0);
    assert.equal(vault.reap(1e9 + 1000), 1);
  });
});

describe('quotas', () => {
  test("L5-27 beyond the bytes the oldest idle one goes, never an active one; beyond one conversation's bytes nothing is sealed", () => {
    const { vault } = make({ sealedBytes: 3 * 4096, bytesPerSession: 2 * 4096 });
    const [a, b, c] = ['a', 'b', 'c'].map((text, i) => idle(vault, text, i)) as [Session, Session, Session];
    vault.begin(a, 10);
    const d = vault.create(holder(alice), 'kept', 11);
    assert.ok(fill(vault, d, 'd', 11));
    assert.deepEqual(
      [a, b, c, d].map((session) => session.state),
      ['active', 'gone', 'idle', 'active'],
    );
    assert.deepEqual(vault.find(b.id, alice, 11), { kind: 'gone', why: 'pressure' });
    assert.ok(!fill(vault, d, 'x'.repeat(3 * 4096), 12));
    assert.equal(read(vault, d), 'd', 'what was sealed before is still there');
    vault.begin(c, 13);
    const e = vault.create(holder(alice), 'kept', 13);
    assert.ok(!fill(vault, e, 'e', 13), 'everything is active');
  });

  test("beyond a token's number of conversations a new one is refused; kept fingerprints make room instead", () => {
    const { vault } = make({ sessionsPerToken: 2, continuedPerToken: 2 });
    idle(vault, 'one');
    idle(vault, 'two');
    assert.throws(() => vault.create(holder(alice), 'kept', 0), { code: 'L5_SESSIONS_FULL' });
    assert.doesNotThrow(() => vault.create(holder(bob), 'kept', 0));
    const first = vault.create(holder(alice), 'continued', 0);
    vault.end(first, 0);
    vault.end(vault.create(holder(alice), 'continued', 1), 1);
    vault.create(holder(alice), 'continued', 2);
    assert.equal(first.state, 'gone');
  });

  test('without a place for another key and without an idle one there is a clear refusal', () => {
    const { vault } = make({ sessions: 3 });
    for (let i = 0; i < 3; i += 1) vault.create(holder(alice), 'kept', i);
    assert.throws(() => vault.create(holder(alice), 'kept', 3), { code: 'L5_MEMORY_FULL' });
  });
});

describe('size', () => {
  test('10,000 idle conversations cost their sealed bytes and at most 4 KiB each; wiping 1,000 of 100 KB leaves none', () => {
    const arena = KeyArena.open(undefined);
    const vault = new Vault(arena, defaultQuotas, () => randomBytes(16));
    for (let i = 0; i < 10_000; i += 1) {
      const session = vault.create(holder(alice), 'kept', i);
      assert.ok(vault.put(session, 'history', work, 5000, i));
      vault.end(session, i);
    }
    assert.equal(vault.size, 10_000);
    assert.ok(vault.sealedBytes <= 10_000 * (5000 + 4096));
    assert.equal(vault.wipeAll(10_000), 10_000);
    for (let i = 0; i < 1000; i += 1) {
      const session = vault.create(holder(alice), 'kept', i);
      assert.ok(vault.put(session, 'state', work, 100_000, i));
      vault.end(session, i);
    }
    assert.equal(vault.wipeAll(2000), 1000);
    assert.deepEqual([vault.size, vault.sealedBytes, arena.live], [0, 0, 0]);
  });
});

describe('what one may take', () => {
  const page = 4096;

  test('L5-27 one token alone may fill the memory; beside another it has half, and only its own are let go for it', () => {
    const { vault } = make({ sealedBytes: 8 * page, bytesPerSession: 8 * page });
    const hers = Array.from({ length: 8 }, (_, i) => idle(vault, `hers ${i}`, i));
    assert.equal(vault.sealedBytes, 8 * page);
    const his = idle(vault, 'his', 20, bob);
    assert.equal(hers[0]!.state, 'gone', 'the oldest makes room');
    idle(vault, 'more of hers', 21);
    assert.deepEqual(
      hers.map(({ state }) => state),
      [...Array.from({ length: 5 }, () => 'gone'), 'idle', 'idle', 'idle'],
    );
    assert.equal(his.state, 'idle');
    const active = Array.from({ length: 4 }, () => {
      const session = vault.create(holder(bob), 'kept', 22);
      fill(vault, session, 'his', 22);
      return session;
    });
    assert.throws(() => vault.create(holder(bob), 'kept', 23), { code: 'L5_SHARE_FULL' });
    assert.ok(!fill(vault, active[0]!, 'x'.repeat(5000), 23), 'nor can a part grow beyond it');
    assert.equal(hers[5]!.state, 'idle');
    vault.wipeAll(24, alice);
    assert.ok(fill(vault, active[0]!, 'x'.repeat(5000), 25), 'alone again');
  });

  test('L5-27 one conversation has room for a full context and its words, not for all', () => {
    assert.equal(sessionByteLimit(2 ** 32, 100_000, 4096, 32 << 20), 100_064 * 4096 + (64 << 20));
    assert.equal(sessionByteLimit(1 << 20, 100_000, 4096, 32 << 20), 1 << 20);
    assert.equal(sessionByteLimit(2 ** 32, 0, 4096, 32 << 20), 2 ** 32);
  });

  test('an idle conversation that grows when it is the oldest is let go itself, and nothing else happens', () => {
    const { vault } = make({ sealedBytes: 2 * page, bytesPerSession: 8 * page });
    const [first, second] = [idle(vault, 'one'), idle(vault, 'two', 1)];
    assert.ok(!fill(vault, first, 'x'.repeat(5000), 2));
    assert.equal(vault.sealedBytes, page);
    assert.ok(
      !vault.put(second, 'state', work, 5000, 3),
      'a first part of its kind, as --kv keep seals it when somebody needs the place',
    );
    assert.deepEqual([first.state, second.state, vault.sealedBytes], ['gone', 'gone', 0]);
  });
});

describe('fingerprints', () => {
  test('equal messages of one holder meet, of two holders never; roles and borders count', () => {
    const arena = KeyArena.open(undefined, 64);
    const fingerprinter = new Fingerprinter(arena);
    const chain = (principal: Buffer, ...messages: readonly (readonly [number, string])[]) =>
      messages
        .reduce(
          (fingerprint, [role, text]) => fingerprinter.next(fingerprint, role, [Buffer.from(text)]),
          fingerprinter.begin(principal),
        )
        .toString('hex');
    assert.equal(chain(alice, [1, 'a'], [2, 'b']), chain(alice, [1, 'a'], [2, 'b']));
    const all = [
      chain(alice, [1, 'a'], [2, 'b']),
      chain(bob, [1, 'a'], [2, 'b']),
      chain(alice, [2, 'a'], [2, 'b']),
      chain(alice, [1, 'ab'], [2, '']),
      chain(alice, [1, 'a']),
      chain(alice, [1, 'ab']),
    ];
    assert.equal(new Set(all).size, all.length);
    assert.notEqual(
      new Fingerprinter(arena).begin(alice).toString('hex'),
      fingerprinter.begin(alice).toString('hex'),
      'another key, another fingerprint',
    );
  });

  test('found by the first fingerprint that fits, while idle, by its owner; the fingerprints of a wiped one are overwritten', () => {
    const { vault, arena } = make();
    const fingerprinter = new Fingerprinter(arena);
    const after = () => fingerprinter.next(fingerprinter.begin(alice), 1, [Buffer.from('hello')]);
    const session = vault.create(holder(alice), 'continued', 0);
    const fingerprint = after();
    vault.setFingerprints(session, [fingerprint]);
    assert.equal(vault.findByFingerprint([after()], alice), undefined, 'a turn is under way');
    vault.end(session, 0);
    assert.equal(vault.findByFingerprint([fingerprinter.begin(alice), after()], alice), session);
    assert.equal(vault.findByFingerprint([after()], bob), undefined);
    vault.wipe(session, 'ended', 1);
    assert.equal(vault.findByFingerprint([after()], alice), undefined);
    assert.ok(fingerprint.every((byte) => byte === 0));
    assert.equal(vault.fingerprints, 0);
  });
});

test('property: in any order of create, turn, abort, wipe, idleness, pressure and crash nothing comes back, leaks, sticks or shares a key', () => {
  type Step = readonly [what: 'create' | 'turn' | 'end' | 'abort' | 'wipe' | 'time' | 'crash', number];
  const step = fc.tuple(
    fc.constantFrom('create', 'create', 'turn', 'turn', 'end', 'end', 'abort', 'wipe', 'time', 'crash'),
    fc.nat(1000),
  ) as fc.Arbitrary<Step>;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const arena = KeyArena.open(undefined, 12);
      const vault = new Vault(
        arena,
        {
          ...defaultQuotas,
          sessions: 8,
          sessionsPerToken: 5,
          continuedPerToken: 3,
          sealedBytes: 6 * 4096,
          bytesPerSession: 2 * 4096,
          idleMs: 500,
          continueMs: 200,
        },
        () => randomBytes(16),
      );
      const model: { session: Session; text: string | undefined; id: string; principal: Buffer }[] = [];
      const gone = new Set<string>();
      let now = 0;
      for (const [what, number] of steps) {
        now += number % 7;
        const entry = model[number % Math.max(1, model.length)];
        if (what === 'create') {
          const principal = number % 3 === 0 ? bob : alice;
          try {
            const session = vault.create(holder(principal), number % 2 === 0 ? 'kept' : 'continued', now);
            model.push({ session, text: undefined, id: session.id, principal });
          } catch (error) {
            assert.match(String((error as { code?: string }).code), /^L5_/);
          }
        } else if (what === 'turn' && entry !== undefined) {
          const wasIdle = entry.session.state === 'idle';
          assert.equal(vault.begin(entry.session, now), wasIdle);
        } else if (what === 'end' && entry?.session.state === 'active') {
          const text = `${entry.id} ${'x'.repeat(number * 7)}`;
          if (fill(vault, entry.session, text, now)) entry.text = text;
          vault.end(entry.session, now);
        } else if (what === 'abort' && entry !== undefined) vault.end(entry.session, now);
        else if (what === 'wipe' && entry !== undefined) vault.wipe(entry.session, 'ended', now);
        else if (what === 'time') {
          now += number;
          vault.reap(now);
        } else if (what === 'crash') {
          arena.destroyAll();
          vault.wipeAll(now);
          assert.equal(arena.live, 0);
        }
        // What must hold after every step.
        const live = model.filter(({ session }) => session.state !== 'gone');
        for (const { session, id } of model) {
          if (session.state === 'gone') gone.add(id);
          else assert.ok(!gone.has(id), 'resurrection');
        }
        assert.equal(vault.size, live.length);
        assert.equal(arena.live, live.length, 'a key for each, and no other');
        assert.equal(new Set(live.map(({ session }) => session.key)).size, live.length);
        assert.equal(
          new Set(live.map(({ session }) => Buffer.from(viewMemory(arena.at(session.key), 32)).toString('hex'))).size,
          live.length,
          'shared key',
        );
        let bytes = 0;
        for (const { session } of live) for (const sealed of session.sealed.values()) bytes += sealed.capacity;
        assert.equal(vault.sealedBytes, bytes, 'bytes leaked');
        assert.ok(vault.sealedBytes <= 6 * 4096 && vault.size <= 8);
        for (const { session, text } of live) assert.equal(read(vault, session), text, 'only its own words');
        for (const { session, principal } of live)
          if (session.kind === 'kept')
            assert.equal(vault.find(session.id, principal === alice ? bob : alice, now).kind, 'unknown');
      }
      for (const { session } of model) vault.end(session, now);
      vault.reap(now + 1000);
      assert.deepEqual([vault.size, vault.sealedBytes, arena.live], [0, 0, 0], 'a stuck one');
    }),
    { numRuns: 300 },
  );
});
