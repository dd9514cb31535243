/**
 * Frames on a byte stream: any split, malformed headers, and which memory a payload is a view of.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeFrame, FrameDecoder, headerBytes, maxPayloadBytes } from '../../../src/wire/frame.ts';

test('frames are decoded however the stream is split', () => {
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

test('a payload above the limit, another wire version and reserved bits are refused before any payload is read', () => {
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

test('a frame that lies in one chunk is passed on in place', () => {
  const chunk = Buffer.concat([encodeFrame(1, 7, Buffer.from('one')), encodeFrame(2, 7, Buffer.from('two'))]);
  const places: number[] = [];
  const decoder = new FrameDecoder(({ payload }) => {
    assert.equal(payload.buffer, chunk.buffer);
    places.push(payload.byteOffset - chunk.byteOffset);
  });
  decoder.push(chunk);
  assert.deepEqual(places, [headerBytes, 2 * headerBytes + 3]);
});

test('the copy of a split frame is overwritten right after the callback, also when that throws', () => {
  const frame = encodeFrame(3, 1, Buffer.from('conversation'));
  for (const fails of [false, true]) {
    const views: Buffer[] = [];
    const decoder = new FrameDecoder(({ payload }) => {
      assert.equal(payload.toString(), 'conversation');
      views.push(payload);
      if (fails) throw new Error('breach');
    });
    decoder.push(frame.subarray(0, 20));
    const finish = () => {
      decoder.push(frame.subarray(20));
    };
    if (fails) assert.throws(finish);
    else finish();
    assert.ok(views[0]!.every((byte) => byte === 0));
  }
});

test('a broken stream leaves nothing of a partial frame behind', () => {
  const frame = encodeFrame(3, 1, Buffer.from('conversation'));
  const views: Buffer[] = [];
  const decoder = new FrameDecoder(({ payload }) => views.push(payload));
  decoder.push(frame.subarray(0, 20));
  decoder[Symbol.dispose]();
  decoder.push(frame.subarray(0, 20));
  decoder.push(frame.subarray(20));
  assert.equal(views.length, 1, 'the decoder starts over');
});
