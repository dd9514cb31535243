/**
 * Payloads of the data edge: what one side encodes the other side reads, and nothing else.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  encodeCredit,
  encodeRequestOpen,
  encodeResponseHead,
  mediaTypes,
  parseCredit,
  parseRequestOpen,
  parseResponseHead,
} from '../../../src/wire/data-payloads.ts';
import { engineRoutes } from '../../../src/wire/messages.ts';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const sessionId = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex'));
const shape = { code: 'WIRE_MESSAGE_SHAPE' };

test('property: a request head is read as it was encoded', () => {
  const open = fc.record({
    route: fc.constantFrom(...Object.values(engineRoutes)),
    principal: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes)),
    bodyLength: u32,
    parameter: fc.stringMatching(/^[A-Za-z0-9._~:@+-]{0,128}$/),
    session: fc.oneof(fc.constantFrom('', 'new'), sessionId),
    operator: fc.boolean(),
  });
  fc.assert(
    fc.property(open, (head) => {
      assert.deepEqual(parseRequestOpen(encodeRequestOpen(head)), { ...head });
    }),
  );
});

test('property: a response head and credit are read as they were encoded', () => {
  const noSession = '0'.repeat(32);
  const head = fc.record({
    status: fc.integer({ min: 200, max: 599 }),
    media: fc.constantFrom(...Object.values(mediaTypes)),
    retryAfterSeconds: u32,
    session: fc.oneof(
      fc.constant(undefined),
      sessionId.filter((id) => id !== noSession),
    ),
  });
  fc.assert(
    fc.property(head, u32, (sent, credit) => {
      assert.deepEqual(parseResponseHead(encodeResponseHead(sent)), { ...sent });
      assert.equal(parseCredit(encodeCredit(credit)), credit);
    }),
  );
});

test('another length, route, flag or status is refused', () => {
  const open = encodeRequestOpen({
    route: engineRoutes.chatCompletions,
    principal: Buffer.alloc(16),
    bodyLength: 1,
    parameter: '',
    session: '',
    operator: false,
  });
  const changed = (at: number, value: number) => {
    const bytes = Buffer.from(open);
    bytes[at] = value;
    return bytes;
  };
  for (const payload of [
    open.subarray(0, -1),
    Buffer.concat([open, Buffer.alloc(257)]),
    changed(0, 0),
    changed(0, 99),
    changed(1, 3),
    changed(2, 2),
    changed(3, 1),
  ])
    assert.throws(() => parseRequestOpen(payload), shape);
  const head = encodeResponseHead({ status: 200, media: mediaTypes.json, retryAfterSeconds: 0 });
  for (const payload of [head.subarray(0, -1), Buffer.concat([head, Buffer.alloc(1)]), Buffer.alloc(head.length)])
    assert.throws(() => parseResponseHead(payload), shape);
  for (const length of [0, 3, 5]) assert.throws(() => parseCredit(Buffer.alloc(length)), shape);
});
