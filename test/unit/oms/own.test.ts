/**
 * Bundles of our own making against the rules of OpenSSF Model Signing v1.0, read here without our parser: their shape
 * as the specification's schemas have it (nothing more, nothing less), order, root digest, and the signature over the
 * DSSE bytes.
 *
 * Source: https://github.com/ossf/model-signing-spec (spec/v1.0.md)
 * @module
 */
import assert from 'node:assert/strict';
import { createHash, createPublicKey, verify } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { kwyre, makeState } from '../../support/approved.ts';
import { makeKey, makeTree } from '../../support/trees.ts';

type Json = Record<string, unknown>;
const keysOf = (value: unknown) => Object.keys(value as Json).sort();
const sha256 = (...parts: (Buffer | string)[]) => parts.reduce((hash, part) => hash.update(part), createHash('sha256'));

// The last two sort the other way round in UTF-16.
const content: Readonly<Record<string, string>> = {
  'b.json': '{}',
  'a/z': 'z',
  'a.txt': 'a',
  Z: '1',
  empty: '',
  '\uff5e': 'tilde',
  '\u{1f600}': 'face',
};

/** What every bundle must be; gives its predicate. */
function checkBundle(bytes: Buffer, name: string, publicKeyPem: string): { resources: Json[]; serialization: Json } {
  const bundle = JSON.parse(bytes.toString('utf8')) as Json;
  assert.deepEqual(keysOf(bundle), ['dsseEnvelope', 'mediaType', 'verificationMaterial']);
  assert.equal(bundle['mediaType'], 'application/vnd.dev.sigstore.bundle.v0.3+json');
  const material = bundle['verificationMaterial'] as Json;
  assert.deepEqual(
    keysOf(material).filter((key) => key !== 'tlogEntries'),
    ['publicKey'],
  );
  assert.deepEqual(material['tlogEntries'] ?? [], []);
  assert.deepEqual(material['publicKey'], { hint: sha256(publicKeyPem).digest('hex') });

  const envelope = bundle['dsseEnvelope'] as { payload: string; payloadType: string; signatures: Json[] };
  assert.deepEqual(keysOf(envelope), ['payload', 'payloadType', 'signatures']);
  assert.equal(envelope.payloadType, 'application/vnd.in-toto+json');
  assert.equal(envelope.signatures.length, 1);
  const [signature = {}] = envelope.signatures;
  assert.deepEqual(
    keysOf(signature).filter((key) => key !== 'keyid'),
    ['sig'],
  );
  assert.ok([undefined, null, ''].includes(signature['keyid'] as string | null | undefined));
  const payload = Buffer.from(envelope.payload, 'base64');
  assert.equal(payload.toString('base64'), envelope.payload, 'canonical base64');
  const signed = Buffer.concat([
    Buffer.from(`DSSEv1 ${envelope.payloadType.length} ${envelope.payloadType} ${payload.length} `),
    payload,
  ]);
  assert.ok(
    verify(
      'sha256',
      signed,
      { key: createPublicKey(publicKeyPem), dsaEncoding: 'der' },
      Buffer.from(signature['sig'] as string, 'base64'),
    ),
  );

  const statement = JSON.parse(payload.toString('utf8')) as Json;
  assert.deepEqual(keysOf(statement), ['_type', 'predicate', 'predicateType', 'subject']);
  assert.equal(statement['_type'], 'https://in-toto.io/Statement/v1');
  assert.equal(statement['predicateType'], 'https://model_signing/signature/v1.0');
  const { resources, serialization } = statement['predicate'] as { resources: Json[]; serialization: Json };
  assert.deepEqual(keysOf(statement['predicate']), ['resources', 'serialization']);
  const root = sha256(...resources.map((entry) => Buffer.from(entry['digest'] as string, 'hex'))).digest('hex');
  assert.deepEqual(statement['subject'], [{ name, digest: { sha256: root } }]);

  const shards = serialization['method'] === 'shards';
  assert.deepEqual(
    keysOf(serialization).filter((key) => key !== 'ignore_paths'),
    ['allow_symlinks', 'hash_type', 'method', ...(shards ? ['shard_size'] : [])],
  );
  assert.ok(shards || serialization['method'] === 'files');
  assert.equal(serialization['hash_type'], 'sha256');
  assert.equal(serialization['allow_symlinks'], false);
  assert.ok(Array.isArray(serialization['ignore_paths'] ?? []));
  for (const entry of resources) {
    assert.equal(entry['algorithm'], 'sha256');
    assert.match(entry['digest'] as string, /^[0-9a-f]{64}$/);
    assert.doesNotMatch(entry['name'] as string, /^\/|\/$|(^|\/)\.{0,2}\/|\0/);
  }
  const names = resources.map((entry) => entry['name'] as string);
  assert.equal(new Set(names).size, names.length);
  if (!shards)
    assert.deepEqual(
      names,
      [...names].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
      'in the order of code points',
    );
  return { resources, serialization };
}

for (const method of ['files', 'shards'] as const) {
  test(`model sign, method ${method}: model.sig keeps to the specification`, () => {
    using model = makeTree(content);
    using state = makeState();
    const { privateKey, publicKey } = makeKey();
    const key = join(state.path, 'key.pem');
    fs.writeFileSync(key, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    const { code, output } = kwyre([
      'model',
      'sign',
      model.path,
      '--key',
      key,
      '--method',
      method,
      '--state',
      state.path,
    ]);
    assert.equal(code, 0, output);
    const name = model.path.split('/').at(-1)!;
    const { resources, serialization } = checkBundle(
      fs.readFileSync(join(model.path, 'model.sig')),
      name,
      publicKey.export({ type: 'spki', format: 'pem' }),
    );
    const expected = Object.entries(content).map(([file, text]) => [
      method === 'files' ? file : `${file}:0:${text.length === 0 ? 0 : Buffer.byteLength(text)}`,
      sha256(text).digest('hex'),
    ]);
    assert.deepEqual(
      new Map(resources.map((entry) => [entry['name'], entry['digest']])),
      new Map(expected as [string, string][]),
    );
    if (method === 'shards') assert.equal(serialization['shard_size'], 1_000_000_000);
  });
}

test('model sign of one file: its name is the resource', () => {
  using model = makeTree({ 'weights.gguf': 'GGUF' });
  using state = makeState();
  const { privateKey, publicKey } = makeKey();
  const key = join(state.path, 'key.pem');
  fs.writeFileSync(key, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  assert.equal(kwyre(['model', 'sign', join(model.path, 'weights.gguf'), '--key', key, '--state', state.path]).code, 0);
  const { resources } = checkBundle(
    fs.readFileSync(join(model.path, 'weights.gguf.sig')),
    'weights.gguf',
    publicKey.export({ type: 'spki', format: 'pem' }),
  );
  assert.deepEqual(
    resources.map((entry) => entry['name']),
    ['weights.gguf'],
  );
});
