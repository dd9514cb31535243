/**
 * Which connection is evicted when there is no room for another one.
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

test('the oldest anonymous connection is evicted first while anonymous ones are the most', () => {
  const connections = new Connections<Fake>(4);
  const all = Array.from({ length: 4 }, () => new Fake());
  for (const one of all) assert.ok(connections.add(one));
  connections.markBusy(all[0]!, 'me');
  connections.markIdle(all[0]!);
  assert.ok(connections.add(new Fake()));
  assert.deepEqual(
    all.map(({ gone }) => gone),
    [false, true, false, false],
  );
  assert.equal(connections.size, 4);
});

test('the holder with the most connections loses the one idle for longest, never a busy one', () => {
  const connections = new Connections<Fake>(6);
  const theirs = Array.from({ length: 4 }, () => new Fake());
  const mine = [new Fake(), new Fake()];
  for (const one of theirs) {
    connections.add(one);
    connections.markBusy(one, 'them');
  }
  for (const one of mine) {
    connections.add(one);
    connections.markBusy(one, 'me');
    connections.markIdle(one);
  }
  for (const index of [2, 1]) connections.markIdle(theirs[index]!);
  connections.add(new Fake());
  connections.add(new Fake());
  assert.deepEqual(
    theirs.map(({ gone }) => gone),
    [false, true, true, false],
  );
  assert.ok(mine.every(({ gone }) => !gone));
});

test('without an idle connection there is no room; closing one makes room', () => {
  const connections = new Connections<Fake>(2);
  const all = [new Fake(), new Fake()];
  for (const one of all) {
    connections.add(one);
    connections.markBusy(one, 'me');
  }
  assert.equal(connections.add(new Fake()), false);
  all[0]!.destroy();
  assert.ok(connections.add(new Fake()));
});

test('all connections of a holder are closed, except those that get an error response', () => {
  const connections = new Connections<Fake>(9);
  const all = Array.from({ length: 3 }, () => new Fake());
  for (const [index, one] of all.entries()) {
    connections.add(one);
    connections.markBusy(one, index === 2 ? 'me' : 'them');
  }
  connections.closeAll('them', new Set([all[0]!]));
  assert.deepEqual(
    all.map(({ gone }) => gone),
    [false, true, false],
  );
});
