import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeFrame, FrameDecoder, headerBytes, maxPayloadBytes } from '../../../src/wire/frame.ts';

test('frames survive any cutting of the stream', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 255 }), fc.uint8Array({ maxLength: 300 })), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
      (frames, cuts) => {
        const stream = Buffer.concat(frames.map(([type, payload], i) => encodeFrame(type, i, payload)));
        const seen: [number, number, string][] = [];
        const decoder = new FrameDecoder((f) => seen.push([f.type, f.stream, f.payload.toString('hex')]));
        for (let at = 0, i = 0; at < stream.length; i += 1) {
          const cut = cuts[i % cuts.length]!;
          decoder.push(stream.subarray(at, at + cut));
          at += cut;
        }
        assert.deepEqual(
          seen,
          frames.map(([type, payload], i) => [type, i, Buffer.from(payload).toString('hex')]),
        );
      },
    ),
  );
});

test('a length above the ceiling, another version and reserved bits are refused before any payload is taken', () => {
  const cases: [number, (b: Buffer) => void, string][] = [
    [0, (b) => b.writeUInt32LE(maxPayloadBytes + 1, 0), 'WIRE_FRAME_LENGTH'],
    [0, (b) => b.writeUInt32LE(0xffffffff, 0), 'WIRE_FRAME_LENGTH'],
    [4, (b) => (b[4] = 1), 'WIRE_FRAME_VERSION'],
    [6, (b) => b.writeUInt16LE(1, 6), 'WIRE_FRAME_RESERVED'],
  ];
  for (const [, spoil, code] of cases) {
    const header = Buffer.from(encodeFrame(3, 1, new Uint8Array(0)).subarray(0, headerBytes));
    spoil(header);
    const decoder = new FrameDecoder(() => assert.fail('delivered'));
    assert.throws(() => decoder.push(header), { code });
  }
});
