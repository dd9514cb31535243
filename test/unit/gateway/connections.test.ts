/**
 * Which connection goes when there is no room for one more.
 * @module
 */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { Connections } from '../../../src/gateway/connections.ts';

class Fake extends EventEmitter {
  gone = false;
  destroy(): void {
    this.gone = true;
    this.emit('close');
  }
}

test("nobody's oldest goes first while strangers hold most", () => {
  const connections = new Connections<Fake>(4);
  const all = Array.from({ length: 4 }, () => new Fake());
  for (const one of all) assert.ok(connections.enter(one));
  connections.hold(all[0]!, 'me');
  connections.rest(all[0]!);
  assert.ok(connections.enter(new Fake()));
  assert.deepEqual(
    all.map(({ gone }) => gone),
    [false, true, false, false],
  );
  assert.equal(connections.size, 4);
});

test('whoever holds most loses the one that it left unused for longest, never one that is being answered', () => {
  const connections = new Connections<Fake>(6);
  const theirs = Array.from({ length: 4 }, () => new Fake());
  const mine = [new Fake(), new Fake()];
  for (const one of theirs) {
    connections.enter(one);
    connections.hold(one, 'them');
  }
  for (const one of mine) {
    connections.enter(one);
    connections.hold(one, 'me');
    connections.rest(one);
  }
  for (const index of [2, 1]) connections.rest(theirs[index]!);
  connections.enter(new Fake());
  connections.enter(new Fake());
  assert.deepEqual(
    theirs.map(({ gone }) => gone),
    [false, true, true, false],
  );
  assert.ok(mine.every(({ gone }) => !gone));
});

test('without one to lose there is no room; closing makes some', () => {
  const connections = new Connections<Fake>(2);
  const all = [new Fake(), new Fake()];
  for (const one of all) {
    connections.enter(one);
    connections.hold(one, 'me');
  }
  assert.equal(connections.enter(new Fake()), false);
  all[0]!.destroy();
  assert.ok(connections.enter(new Fake()));
});

test('the connections of a holder end, but those that are being told', () => {
  const connections = new Connections<Fake>(9);
  const all = Array.from({ length: 3 }, () => new Fake());
  for (const [index, one] of all.entries()) {
    connections.enter(one);
    connections.hold(one, index === 2 ? 'me' : 'them');
  }
  connections.close('them', new Set([all[0]!]));
  assert.deepEqual(
    all.map(({ gone }) => gone),
    [false, true, false],
  );
});
