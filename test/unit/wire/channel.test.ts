/**
 * One end of an edge: which message is permitted when.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Channel } from '../../../src/wire/channel.ts';
import { encodeFrame } from '../../../src/wire/frame.ts';

function listen() {
  const breaches: string[] = [];
  const seen: number[] = [];
  const handle = ({ type }: { type: number }) => {
    seen.push(type);
  };
  const channel = new Channel(
    { write: () => undefined },
    { 1: { permit: 'start', handle }, 3: { permit: 'always', handle }, 5: { permit: 'once', handle } },
    (error) => breaches.push(error.code),
  );
  return {
    channel,
    breaches,
    seen,
    send: (type: number) => {
      channel.receive(encodeFrame(type, 0, Buffer.alloc(0)));
    },
  };
}

test('a startup message is permitted once, and a breach after startup', () => {
  const first = listen();
  first.send(1);
  first.send(1);
  assert.deepEqual([first.seen, first.breaches], [[1], ['WIRE_MESSAGE_REPEATED']]);
  const late = listen();
  late.channel.endStartup();
  late.send(3);
  late.send(5);
  late.send(1);
  late.send(3);
  assert.deepEqual([late.seen, late.breaches], [[3, 5], ['WIRE_MESSAGE_LATE']], 'nothing is dispatched after a breach');
});
