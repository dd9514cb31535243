import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KwyreError } from '../../../src/base/errors.ts';
import { parseGguf } from '../../../src/layers/4-model/gguf.ts';
import type { Tensor, Value } from '../../support/gguf.ts';
import { header, llamaModel, tensorBytes, tinyShape } from '../../support/gguf.ts';

/** A whole file of zeros behind a header. */
function file(change: (metadata: [string, Value][], tensors: Tensor[]) => void = () => undefined): Buffer {
  const { metadata, tensors } = llamaModel(tinyShape);
  change(metadata, tensors);
  const data = tensors.reduce((sum, tensor) => sum + Math.ceil(tensorBytes(tensor) / 32) * 32, 0);
  return Buffer.concat([header(metadata, tensors), Buffer.alloc(data)]);
}

const parse = (bytes: Buffer) => parseGguf((offset, length) => bytes.subarray(offset, offset + length), bytes.length);

test('a sound file is read', () => {
  const facts = parse(file());
  assert.equal(facts.architecture, 'llama');
  assert.equal(facts.contextTokens, tinyShape.context);
  assert.match(facts.template, /im_start/);
});

test('L4-15 L4-17 L4-20 what would abort or mislead native code is refused with a code', () => {
  const without = (key: string) => file((metadata) => metadata.splice(metadata.findIndex(([name]) => name === key), 1));
  const spoiled = (at: number, bytes: number[]) => {
    const whole = file();
    whole.set(bytes, at);
    return whole;
  };
  const cases: Buffer[] = [
    Buffer.alloc(0),
    spoiled(0, [0x58]),
    spoiled(4, [9]),
    spoiled(8, [255, 255, 255, 255, 255, 255, 255, 127]),
    spoiled(16, [255, 255, 255, 255, 255, 255, 255, 127]),
    spoiled(24, [255, 255, 255, 255, 255, 255, 255, 255]),
    without('general.architecture'),
    without('llama.context_length'),
    without('llama.feed_forward_length'),
    without('llama.attention.head_count'),
    without('tokenizer.ggml.tokens'),
    file((metadata) => metadata.push(['general.alignment', { u32: 24 }])),
    file((metadata) => metadata.push(['general.alignment', { u32: 8 }])),
    file().subarray(0, -64),
    file().subarray(0, 500),
  ];
  cases.forEach((bytes, index) => assert.throws(() => parse(bytes), (error) => error instanceof KwyreError && error.code.startsWith('L4_'), `case ${index}`));
});

test('no mutation of a header does anything but parse or refuse', () => {
  const whole = file();
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 6000 }), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 }), (changes) => {
      const bytes = Buffer.from(whole);
      for (const [at, value] of changes) bytes[at] = value;
      try {
        parse(bytes);
      } catch (error) {
        assert.ok(error instanceof KwyreError, String(error));
      }
    }),
    { numRuns: 300 },
  );
});
