/**
 * The specification's own vectors and models signed by other tools: each behaves as it is named.
 * @module
 */
import assert from 'node:assert/strict';
import { createPublicKey, X509Certificate } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseBundle } from '../../../src/oms/bundle.ts';
import { keyIdOf, verifySignature } from '../../../src/oms/signature.ts';
import type { Trust } from '../../../src/oms/signature.ts';
import { defaultExclusions, parseStatement } from '../../../src/oms/statement.ts';
import { compareTree } from '../../../src/oms/manifest-verifier.ts';
import { anyRights, codeOf, fault, makeKey } from '../../support/trees.ts';

const vectors = join(import.meta.dirname, '..', '..', 'vectors', 'oms');
const read = (path: string) => fs.readFileSync(join(vectors, path));
const key = createPublicKey(read('keys/signing-key-pub.pem'));
const ca = new X509Certificate(read('keys/ca-cert.pem'));
const trust: Trust = { keys: [key], roots: [ca] };
const nobody: Trust = { keys: [], roots: [] };
const now = new Date('2026-11-23T00:00:00Z');
const rules = { allowedIgnores: ['model.sig', 'ignore-me'] };

test('the hint is the digest of the PEM text as exported again', () => {
  assert.equal(keyIdOf(key), 'e8450dec4eb99dae995da9af1bc2cc9f76ed669ee2e744f57abba763df3e3f8e');
});

test('valid/key: verified by the key from outside, not without it', () => {
  const bundle = parseBundle(read('spec-v1.0/valid/key.bundle.json'), fault);
  assert.deepEqual(verifySignature(bundle, trust, now, fault), {
    method: 'key',
    keyId: keyIdOf(key),
    curve: 'secp384r1',
  });
  assert.equal(parseStatement(bundle.payload, rules, fault).files.length, 2);
  assert.equal(
    codeOf(() => verifySignature(bundle, nobody, now, fault)),
    'L4_SIGNER_UNTRUSTED',
  );
  assert.equal(
    codeOf(() => verifySignature(bundle, { keys: [makeKey('P-384').publicKey], roots: [ca] }, now, fault)),
    'L4_SIGNER_UNTRUSTED',
  );
});

test('valid/certificate: verified by the chain to the root, not by another root, not out of its time', () => {
  const bundle = parseBundle(read('spec-v1.0/valid/certificate.bundle.json'), fault);
  const signer = verifySignature(bundle, trust, now, fault);
  assert.equal(signer.method, 'certificate');
  const other = new X509Certificate(read('keys/signing-key-cert.pem'));
  assert.equal(
    codeOf(() => verifySignature(bundle, nobody, now, fault)),
    'L4_SIGNER_UNTRUSTED',
  );
  assert.equal(
    codeOf(() => verifySignature(bundle, trust, new Date('2036-01-01'), fault)),
    'L4_CERTIFICATE_INVALID',
  );
  assert.equal(
    codeOf(() => verifySignature(bundle, trust, new Date('2020-01-01'), fault)),
    'L4_CERTIFICATE_INVALID',
  );
  assert.equal(
    verifySignature(bundle, { keys: [], roots: [other] }, now, fault).method,
    'certificate',
    'a pinned leaf is its own root',
  );
});

test('valid/sigstore: has the right shape; keyless is not accepted at start', () => {
  const bundle = parseBundle(read('spec-v1.0/valid/sigstore.bundle.json'), fault);
  assert.equal(bundle.material.method, 'sigstore');
  assert.equal(
    codeOf(() => verifySignature(bundle, trust, now, fault)),
    'L4_SIGNATURE_METHOD',
  );
});

for (const name of ['empty', 'missing-envelope', 'missing-tlog-entries', 'missing-verification-material']) {
  test(`invalid/${name} is refused by its shape`, () => {
    assert.equal(
      codeOf(() => parseBundle(read(`spec-v1.0/invalid/${name}.bundle.json`), fault)),
      'L4_BUNDLE_SHAPE',
    );
  });
}

test('invalid-payload/wrong-predicate is refused', () => {
  const bundle = parseBundle(read('spec-v1.0/invalid-payload/wrong-predicate.bundle.json'), fault);
  assert.equal(
    codeOf(() => parseStatement(bundle.payload, rules, fault)),
    'L4_STATEMENT_KIND',
  );
  assert.equal(
    codeOf(() => verifySignature(bundle, trust, now, fault)),
    'L4_SIGNATURE_INVALID',
  );
});

for (const name of ['v1.1.0-elliptic-key', 'v1.0.0-certificate']) {
  test(`models/${name}: files and signature verify`, () => {
    const bundle = parseBundle(read(`models/${name}/model.sig`), fault);
    verifySignature(bundle, trust, now, fault);
    const statement = parseStatement(bundle.payload, rules, fault);
    assert.equal(statement.name, name);
    const excluded = new Set([...defaultExclusions, 'model.sig', ...statement.ignorePaths]);
    const { differences, evidence } = compareTree({
      disk: fs,
      root: join(vectors, 'models', name),
      files: statement.files,
      excluded,
      rights: anyRights,
      shardBytes: undefined,
    });
    assert.deepEqual(differences, []);
    assert.equal(evidence.files, 2);
  });
}

test('an ignored path that we do not allow is refused', () => {
  const bundle = parseBundle(read('models/v1.1.0-elliptic-key/model.sig'), fault);
  assert.equal(
    codeOf(() => parseStatement(bundle.payload, { allowedIgnores: ['model.sig'] }, fault)),
    'L4_IGNORE_WIDENED',
  );
});
