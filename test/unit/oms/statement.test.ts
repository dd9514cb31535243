/**
 * Statements: what we write is read back; every deviation is refused by a code.
 * @module
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { mediaType, parseBundle, payloadType } from '../../../src/oms/bundle.ts';
import { compareNames, findTwins, nameFault } from '../../../src/oms/file-names.ts';
import { signPayload, verifySignature } from '../../../src/oms/signature.ts';
import { formatStatement, parseStatement, rootDigest } from '../../../src/oms/statement.ts';
import { codeOf, fault, makeKey } from '../../support/trees.ts';

const digest = 'ab'.repeat(32);
const rules = { allowedIgnores: ['model.sig'] };
// eslint-disable-next-line @typescript-eslint/no-explicit-any -- documents are damaged at any depth
type Json = Record<string, any>;

function statement(change: (value: Json) => void = () => undefined, names = ['a', 'b']): Buffer {
  const value = JSON.parse(
    formatStatement(
      'm',
      names.map((name) => ({ name, size: 1, digest })),
      { kind: 'files' },
      [],
    ).toString(),
  ) as Json;
  change(value);
  value['subject'][0].digest.sha256 ??= '';
  return Buffer.from(JSON.stringify(value));
}
const refuse = (change: (value: Json) => void, names?: string[]) =>
  codeOf(() => parseStatement(statement(change, names), rules, fault));
const reroot = (value: Json) =>
  (value['subject'][0].digest.sha256 = rootDigest(value['predicate'].resources.map((r: Json) => r['digest'])));

test('what is written is read back, with and without shards', () => {
  assert.deepEqual(
    parseStatement(statement(), rules, fault).files.map((file) => [file.name, file.digest]),
    [
      ['a', digest],
      ['b', digest],
    ],
  );
  const shards = [
    { start: 0, end: 10, digest },
    { start: 10, end: 12, digest },
  ];
  const bytes = formatStatement(
    'm',
    [
      { name: 'w:1.gguf', size: 12, shards },
      { name: 'empty', size: 0, shards: [{ start: 0, end: 0, digest }] },
    ],
    { kind: 'shards', shardBytes: 10 },
    ['model.sig'],
  );
  const parsed = parseStatement(bytes, rules, fault);
  assert.deepEqual(
    parsed.files.map((file) => [file.name, file.size, file.shards.length]),
    [
      ['empty', 0, 1],
      ['w:1.gguf', 12, 2],
    ],
  );
});

test('deviations are refused', () => {
  assert.equal(
    refuse((v) => (v['_type'] = 'https://in-toto.io/Statement/v0.1')),
    'L4_STATEMENT_SHAPE',
  );
  assert.equal(
    refuse((v) => (v['predicateType'] = 'https://model_signing/signature/v1.0/')),
    'L4_STATEMENT_KIND',
  );
  assert.equal(
    refuse((v) => (v['extra'] = 1)),
    'L4_STATEMENT_SHAPE',
  );
  assert.equal(
    refuse((v) => v['subject'].push(v['subject'][0])),
    'L4_STATEMENT_SHAPE',
  );
  assert.equal(
    refuse((v) => (v['predicate'].resources = [])),
    'L4_STATEMENT_SHAPE',
  );
  assert.equal(
    refuse((v) => (v['predicate'].more = 1)),
    'L4_STATEMENT_SHAPE',
  );
  assert.equal(
    refuse((v) => (v['predicate'].serialization.allow_symlinks = true)),
    'L4_STATEMENT_SHAPE',
  );
  assert.equal(
    refuse((v) => (v['predicate'].serialization.hash_type = 'md5')),
    'L4_STATEMENT_SHAPE',
  );
  assert.equal(
    refuse((v) => (v['predicate'].serialization.method = 'none')),
    'L4_STATEMENT_SHAPE',
  );
  assert.equal(
    refuse((v) => (v['predicate'].serialization.shard_size = 5)),
    'L4_STATEMENT_SHAPE',
  );
  assert.equal(
    refuse((v) => (v['predicate'].serialization.ignore_paths = ['weights'])),
    'L4_IGNORE_WIDENED',
  );
  assert.equal(
    refuse((v) => (v['predicate'].resources[0].digest = '')),
    'L4_STATEMENT_SHAPE',
  );
  assert.equal(
    refuse((v) => (v['predicate'].resources[0].digest = '../'.repeat(21) + 'x')),
    'L4_STATEMENT_SHAPE',
    'L4-22',
  );
  assert.equal(
    refuse((v) => (v['predicate'].resources[0].algorithm = 'sha1')),
    'L4_STATEMENT_SHAPE',
  );
  assert.equal(
    refuse((v) => delete v['predicate'].resources[0].digest),
    'L4_STATEMENT_SHAPE',
    'L4-06',
  );
  assert.equal(
    refuse((v) => (v['predicate'].resources[1].digest = 'cd'.repeat(32))),
    'L4_STATEMENT_SHAPE',
    'the root digest is recomputed',
  );
  assert.equal(
    refuse((v) => v['predicate'].resources.reverse()),
    'L4_STATEMENT_SHAPE',
    'order',
  );
  assert.equal(
    refuse((v) => (v['predicate'].resources[1].name = 'a')),
    'L4_STATEMENT_SHAPE',
    'a duplicate name',
  );
  assert.equal(
    refuse((v) => (v['predicate'].resources[0].unknown = 1)),
    'nothing was thrown',
    'more fields of a resource are ignored',
  );
});

test('unsafe names and twins are refused', () => {
  for (const name of ['/a', 'a/', 'a//b', '../a', 'a/../b', './a', 'a\nb', 'a\u0000', 'a\u202eb', 'a\\b', 'a\u200b'])
    assert.equal(refuse(reroot, [name]), 'L4_STATEMENT_SHAPE', JSON.stringify(name));
  assert.equal(refuse(reroot, ['Read', 'read']), 'L4_NAME_TWINS');
  assert.equal(refuse(reroot, ['cafe\u0301', 'caf\u00e9']), 'L4_NAME_TWINS');
  assert.equal(refuse(reroot, ['D/x', 'd/y']), 'L4_NAME_TWINS');
});

test('shards with gaps, overlaps or other sizes are refused', () => {
  const shards = (list: [number, number][]) =>
    codeOf(() =>
      parseStatement(
        formatStatement(
          'm',
          [
            {
              name: 'w',
              size: Math.max(...list.map(([, end]) => end)),
              shards: list.map(([start, end]) => ({ start, end, digest })),
            },
          ],
          { kind: 'shards', shardBytes: 10 },
          [],
        ),
        rules,
        fault,
      ),
    );
  assert.equal(
    shards([
      [0, 10],
      [10, 15],
    ]),
    'nothing was thrown',
  );
  for (const bad of [
    [
      [0, 10],
      [20, 30],
    ],
    [[0, 9]].concat([[9, 10]]),
    [[5, 10]],
    [
      [0, 10],
      [5, 15],
    ],
    [[0, 20]],
    [
      [0, 0],
      [0, 10],
    ],
    [
      [0, 10],
      [10, 10],
    ],
  ] as [number, number][][]) {
    assert.equal(shards(bad), 'L4_STATEMENT_SHAPE', JSON.stringify(bad));
  }
});

test('order is by code point, also beyond the first plane', () => {
  assert.ok(compareNames('\u{10000}', '\ue000') > 0);
  fc.assert(
    fc.property(
      fc.string({ unit: 'grapheme' }),
      fc.string({ unit: 'grapheme' }),
      (a, b) => Math.sign(compareNames(a, b)) === -Math.sign(compareNames(b, a)) || a === b,
    ),
  );
});

test('names: folders count as twins, equal paths do not', () => {
  assert.deepEqual(findTwins(['a/b', 'a/c']), []);
  assert.deepEqual(findTwins(['a/b', 'A/b']), [
    ['a', 'A'],
    ['a/b', 'A/b'],
  ]);
  assert.equal(nameFault('ünïcode/文件-😀.json'), undefined);
});

test('our signature: bound to payload, key and curve', () => {
  const { privateKey, publicKey } = makeKey();
  const text = signPayload(statement(), privateKey, fault);
  const bundle = parseBundle(Buffer.from(text), fault);
  const trust = { keys: [publicKey], roots: [] };
  assert.equal(verifySignature(bundle, trust, new Date(), fault).method, 'key');
  const forged = Buffer.from(bundle.payload);
  forged[20]! ^= 1;
  assert.equal(
    codeOf(() => verifySignature({ ...bundle, payload: forged }, trust, new Date(), fault)),
    'L4_SIGNATURE_INVALID',
  );
  assert.equal(
    codeOf(() => verifySignature({ ...bundle, signature: Buffer.alloc(70) }, trust, new Date(), fault)),
    'L4_SIGNATURE_INVALID',
  );
  assert.equal(
    codeOf(() =>
      verifySignature(
        { ...bundle, material: { method: 'key', hint: undefined } },
        { keys: [makeKey().publicKey], roots: [] },
        new Date(),
        fault,
      ),
    ),
    'L4_SIGNATURE_INVALID',
  );
  assert.equal(
    codeOf(() => signPayload(statement(), makeKey('P-384').privateKey, fault)),
    'L4_KEY_INVALID',
    'we sign with P-256 only',
  );
});

test('bundles: any other shape is refused before cryptography', () => {
  const good = JSON.parse(signPayload(statement(), makeKey().privateKey, fault)) as Json;
  const shape = (change: (value: Json) => void) => {
    const value = structuredClone(good);
    change(value);
    return codeOf(() => parseBundle(Buffer.from(JSON.stringify(value)), fault));
  };
  assert.equal(
    shape(() => undefined),
    'nothing was thrown',
  );
  assert.equal(
    shape((v) => (v['mediaType'] = mediaType.replace('0.3', '0.9'))),
    'L4_BUNDLE_SHAPE',
  );
  assert.equal(
    shape((v) => (v['dsseEnvelope'].payloadType = `${payloadType}x`)),
    'L4_BUNDLE_SHAPE',
  );
  assert.equal(
    shape((v) => v['dsseEnvelope'].signatures.push(v['dsseEnvelope'].signatures[0])),
    'L4_BUNDLE_SHAPE',
  );
  assert.equal(
    shape((v) => (v['dsseEnvelope'].signatures = [])),
    'L4_BUNDLE_SHAPE',
  );
  assert.equal(
    shape((v) => (v['dsseEnvelope'].payload = `${String(v['dsseEnvelope'].payload)} `)),
    'L4_BUNDLE_SHAPE',
  );
  assert.equal(
    shape((v) => (v['verificationMaterial'].x509CertificateChain = { certificates: [{ rawBytes: 'AAAA' }] })),
    'L4_BUNDLE_SHAPE',
    'two methods',
  );
  assert.equal(
    shape((v) => (v['more'] = 1)),
    'L4_BUNDLE_SHAPE',
  );
  for (const text of ['', '[]', 'null', '{', '\ufeff{}', '{} {}'])
    assert.equal(
      codeOf(() => parseBundle(Buffer.from(text), fault)),
      'L4_BUNDLE_SHAPE',
    );
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      (bytes) => codeOf(() => parseBundle(Buffer.from(bytes), fault)) === 'L4_BUNDLE_SHAPE',
    ),
    { numRuns: 300 },
  );
});
