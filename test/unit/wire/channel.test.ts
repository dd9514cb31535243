/** One end of an edge: what may come when. */
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
    say: (type: number) => {
      channel.receive(encodeFrame(type, 0, Buffer.alloc(0)));
    },
  };
}

test('a message of the start comes once, and is a breach when the start is over', () => {
  const first = listen();
  first.say(1);
  first.say(1);
  assert.deepEqual([first.seen, first.breaches], [[1], ['WIRE_MESSAGE_REPEATED']]);
  const late = listen();
  late.channel.endStartup();
  late.say(3);
  late.say(5);
  late.say(1);
  late.say(3);
  assert.deepEqual([late.seen, late.breaches], [[3, 5], ['WIRE_MESSAGE_LATE']], 'nothing is heard after a breach');
});
