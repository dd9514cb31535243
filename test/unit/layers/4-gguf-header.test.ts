/** The header of a GGUF file, sound and hostile. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { KwyreError } from '../../../src/base/errors.ts';
import type { GgufFacts } from '../../../src/layers/4-model/gguf-header.ts';
import { parseGguf, parseParts } from '../../../src/layers/4-model/gguf-header.ts';
import type { Model, Value } from '../../support/gguf.ts';
import { header, llamaModel, tensorBytes, tinyShape, withMetadata } from '../../support/gguf.ts';

const sound = llamaModel(tinyShape);

/** A whole file; the weights are zeros. */
function bytesOf(model: Model): Buffer {
  const data = model.tensors.reduce((sum, tensor) => sum + Math.ceil(tensorBytes(tensor) / 32) * 32, 0);
  return Buffer.concat([header(model.metadata, model.tensors), Buffer.alloc(data)]);
}

function parse(file: Buffer, size = file.length): GgufFacts {
  return parseGguf((offset, length) => file.subarray(offset, offset + length), size);
}

function codeOf(file: Buffer, size = file.length): string {
  try {
    parse(file, size);
    return 'accepted';
  } catch (error) {
    if (error instanceof KwyreError) return error.code;
    throw error;
  }
}

const file = bytesOf(sound);
const changed = (changes: Record<string, Value | undefined>) => codeOf(bytesOf(withMetadata(sound, changes)));
const u32 = (value: number): Value => ({ u32: value });

test('a sound header gives its facts', () => {
  const facts = parse(file);
  assert.deepEqual(
    { ...facts, template: facts.template.slice(0, 12), parameters: 0 },
    {
      architecture: 'llama',
      name: 'random weights',
      contextTokens: 1024,
      tensors: 21,
      parameters: 0,
      quantisation: 'F32 100 %',
      vocabulary: 259,
      tokenizer: 'gpt2',
      template: '{% for messa',
      bos: '<|endoftext|>',
      eos: '<|im_end|>',
      cacheBytesPerToken: 2 * 2 * 2 * (16 + 16),
      headSizes: [16, 16],
    },
  );
  assert.equal(
    facts.parameters,
    sound.tensors.reduce((sum, tensor) => sum + tensor.shape.reduce((a, b) => a * b, 1), 0),
  );
});

describe('L4-15: counts and lengths', () => {
  const at = (name: string) => file.indexOf(name);
  const patched = (offset: number, value: bigint) => {
    const copy = Buffer.from(file);
    copy.writeBigUInt64LE(value, offset);
    return codeOf(copy);
  };
  const huge = [2n ** 63n, 2n ** 64n - 1n, 2n ** 32n, 2n ** 31n, 1n << 40n];

  test('numbers of tensors and of metadata entries', () => {
    for (const value of huge)
      for (const offset of [8, 16]) assert.match(patched(offset, value), /^L4_GGUF_(LIMIT|TRUNCATED)$/);
    for (const value of [0n, 22n, 60_000n]) assert.match(patched(8, value), /^L4_GGUF_/);
  });

  test('lengths of strings, keys and arrays', () => {
    for (const value of huge) {
      assert.match(patched(24, value), /^L4_GGUF_/, 'the first key');
      assert.match(patched(at('general.name') + 'general.name'.length + 4, value), /^L4_GGUF_/, 'a string');
      assert.match(
        patched(at('tokenizer.ggml.tokens') + 'tokenizer.ggml.tokens'.length + 8, value),
        /^L4_GGUF_/,
        'an array',
      );
      assert.match(patched(at('token_embd.weight') - 8, value), /^L4_GGUF_/, 'a tensor name');
    }
  });

  test('dimensions whose product leaves 64 bits', () => {
    const first = at('token_embd.weight') + 'token_embd.weight'.length + 4;
    for (const value of [0n, 1n << 62n, 2n ** 64n - 1n, 2n ** 53n - 1n])
      assert.match(patched(first, value), /^L4_GGUF_(TENSOR|LIMIT)$/);
    const copy = Buffer.from(file);
    copy.writeBigUInt64LE(1n << 33n, first);
    copy.writeBigUInt64LE(1n << 33n, first + 8); // together 2^66, which wraps round to 4 in 64 bits
    assert.equal(codeOf(copy), 'L4_GGUF_TENSOR');
  });
});

describe('L4-16: alignment', () => {
  test('too small, no power of two, too large, another type', () => {
    for (const value of [0, 1, 8, 16, 33, 48, 1 << 17, (1 << 31) >>> 0])
      assert.match(changed({ 'general.alignment': u32(value) }), /^L4_GGUF_(KEY|ALIGNMENT)$/);
    assert.equal(changed({ 'general.alignment': { text: '32' } }), 'L4_GGUF_KEY');
    assert.equal(changed({ 'general.alignment': u32(32) }), 'accepted');
  });
});

describe('L4-17: data of tensors', () => {
  const offsetOf = (name: string, rank: number) => file.indexOf(name) + name.length + 4 + 8 * rank + 4;
  const moved = (name: string, rank: number, value: bigint) => {
    const copy = Buffer.from(file);
    copy.writeBigUInt64LE(value, offsetOf(name, rank));
    return codeOf(copy);
  };

  test('beyond the end, not aligned, over another one', () => {
    for (const value of [BigInt(file.length) & ~31n, 1n << 40n, 2n ** 64n - 32n])
      assert.match(moved('output_norm.weight', 1, value), /^L4_GGUF_(TENSOR|LIMIT)$/);
    assert.equal(moved('output_norm.weight', 1, 7n), 'L4_GGUF_TENSOR');
    assert.equal(moved('output_norm.weight', 1, 0n), 'L4_GGUF_TENSOR');
    assert.equal(codeOf(file, file.length - 1), 'L4_GGUF_TENSOR');
  });

  test('types: unknown ones, blocks that rows do not fill, norms that are no floats', () => {
    const typed = (name: string, rank: number, type: number) => {
      const copy = Buffer.from(file);
      copy.writeUInt32LE(type, offsetOf(name, rank) - 4);
      return codeOf(copy);
    };
    for (const type of [4, 5, 31, 38, 43, 255, 0xffffffff])
      assert.equal(typed('output.weight', 2, type), 'L4_GGUF_TENSOR');
    assert.equal(typed('output.weight', 2, 12), 'L4_GGUF_TENSOR', '64 is no multiple of 256');
    assert.equal(typed('output_norm.weight', 1, 1), 'L4_GGUF_TENSOR');
  });

  test('names: none, twice', () => {
    const copy = Buffer.from(file);
    copy.write('blk.0.attn_v', file.indexOf('blk.0.attn_k'));
    assert.equal(codeOf(copy), 'L4_GGUF_TENSOR');
    assert.equal(codeOf(bytesOf({ metadata: sound.metadata, tensors: [] })), 'L4_GGUF_TENSOR');
  });
});

describe('L4-18, L4-20: metadata', () => {
  test('keys that llama.cpp needs or ends over', () => {
    for (const key of [
      'general.architecture',
      'llama.context_length',
      'llama.embedding_length',
      'llama.block_count',
      'llama.feed_forward_length',
      'llama.attention.head_count',
      'tokenizer.ggml.tokens',
      'tokenizer.ggml.model',
    ]) {
      assert.equal(changed({ [key]: undefined }), 'L4_GGUF_KEY', key);
      assert.match(changed({ [key]: { flag: true } }), /^L4_GGUF_(KEY|TYPE)$/, `${key} as a truth value`);
    }
    for (const [key, value] of Object.entries({
      'llama.context_length': 0,
      'llama.block_count': 0,
      'llama.attention.head_count': 0,
      'llama.embedding_length': 0,
      'split.count': 2,
      'llama.expert_used_count': 1,
      'tokenizer.ggml.bos_token_id': 259,
    })) {
      assert.match(changed({ [key]: u32(value) }), /^L4_GGUF_(KEY|SPLIT)$/, key);
    }
    for (const value of [-1e-5, Number.NaN, Number.POSITIVE_INFINITY])
      assert.equal(changed({ 'llama.attention.layer_norm_rms_epsilon': { f32: value } }), 'L4_GGUF_KEY');
    assert.equal(changed({ 'llama.rope.scaling.type': { text: 'spiral' } }), 'L4_GGUF_KEY');
    assert.equal(changed({ 'llama.attention.head_count': { i32s: [4] } }), 'L4_GGUF_KEY', 'fewer heads than layers');
    assert.equal(changed({ 'llama.attention.head_count': { i32s: [4, 4] } }), 'accepted');
  });

  test('lists of the tokenizer that do not fit one another', () => {
    assert.equal(changed({ 'tokenizer.ggml.token_type': { i32s: [1, 2, 3] } }), 'L4_GGUF_KEY');
    assert.equal(changed({ 'tokenizer.ggml.token_type': { texts: ['1'] } }), 'L4_GGUF_TYPE');
    assert.equal(changed({ 'tokenizer.ggml.merges': { i32s: [1] } }), 'L4_GGUF_TYPE');
    assert.equal(changed({ 'tokenizer.ggml.tokens': { texts: Array<string>(259).fill('same') } }), 'L4_GGUF_KEY');
    assert.equal(changed({ 'tokenizer.ggml.tokens': { texts: [] } }), 'L4_GGUF_LIMIT');
  });

  test('a key twice, an empty one, arrays of arrays, a truth value of 2', () => {
    assert.equal(
      codeOf(bytesOf({ ...sound, metadata: [...sound.metadata, ['general.name', { text: 'again' }]] })),
      'L4_GGUF_KEY',
    );
    assert.equal(changed({ '': u32(1) }), 'L4_GGUF_KEY');
    assert.equal(
      changed({ nested: { raw: Buffer.from([9, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]) } }),
      'L4_GGUF_TYPE',
    );
    assert.equal(changed({ odd: { raw: Buffer.from([7, 0, 0, 0, 2]) } }), 'L4_GGUF_TYPE');
    assert.equal(changed({ odd: { raw: Buffer.from([13, 0, 0, 0, 2]) } }), 'L4_GGUF_TYPE');
    assert.equal(changed({ 'tokenizer.chat_template': { text: 'x'.repeat((1 << 20) + 1) } }), 'L4_GGUF_LIMIT');
  });
});

test('L4-19: a small file that announces much makes no memory', () => {
  const before = process.memoryUsage().arrayBuffers;
  for (const length of [1n << 21n, 1n << 22n]) {
    const copy = Buffer.from(file);
    copy.writeBigUInt64LE(length, file.indexOf('tokenizer.ggml.tokens') + 'tokenizer.ggml.tokens'.length + 8);
    assert.match(codeOf(copy), /^L4_GGUF_/);
  }
  assert.ok(process.memoryUsage().arrayBuffers - before < 64 << 20);
});

test('versions and magic', () => {
  const version = (value: number) => {
    const copy = Buffer.from(file);
    copy.writeUInt32LE(value, 4);
    return codeOf(copy);
  };
  assert.deepEqual([2, 3, 1, 4, 0x03000000].map(version), [
    'accepted',
    'accepted',
    'L4_GGUF_VERSION',
    'L4_GGUF_VERSION',
    'L4_GGUF_VERSION',
  ]);
  assert.equal(codeOf(Buffer.from('GGML'.padEnd(64, '\0'))), 'L4_GGUF_MAGIC');
});

describe('properties', () => {
  const headerBytes = header(sound.metadata, sound.tensors).length;

  test('cut off anywhere, it is refused with a code', () => {
    fc.assert(
      fc.property(fc.nat(file.length - 1), (length) => {
        assert.match(codeOf(file.subarray(0, length)), /^L4_GGUF_/);
      }),
      { numRuns: 300 },
    );
  });

  test('with any bytes changed, it is refused with a code or its facts stay within their limits', () => {
    const edits = fc.array(fc.tuple(fc.nat(headerBytes - 1), fc.integer({ min: 0, max: 255 })), {
      minLength: 1,
      maxLength: 8,
    });
    fc.assert(
      fc.property(edits, (changes) => {
        const copy = Buffer.from(file);
        for (const [offset, value] of changes) copy[offset] = value;
        const code = codeOf(copy);
        if (code !== 'accepted') {
          assert.match(code, /^L4_GGUF_/);
          return;
        }
        const facts = parse(copy);
        assert.ok(facts.parameters > 0 && facts.parameters <= file.length);
        assert.ok(facts.contextTokens >= 1 && facts.vocabulary >= 1 && Number.isSafeInteger(facts.cacheBytesPerToken));
      }),
      { numRuns: 1500 },
    );
  });

  test('any bytes at all are refused with a code', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        assert.match(codeOf(Buffer.concat([Buffer.from('GGUF\x03\0\0\0'), bytes])), /^L4_GGUF_/);
      }),
      { numRuns: 500 },
    );
  });
});

test('L4-04 a model of more files than the engine has descriptors for is refused before any is read', () => {
  const part = { readAt: () => assert.fail('nothing is read'), size: 1 };
  assert.throws(() => parseParts(Array.from({ length: 129 }, () => part)), { code: 'L4_GGUF_SPLIT' });
});
