/**
 * Approvals: what a record must be for its model to be served.
 * @module
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { test } from 'node:test';
import {
  approveRecord,
  formatRecord,
  formatTrust,
  parseRecord,
  parseTrust,
  roles,
} from '../../../src/layers/4-model/approval.ts';
import type { ModelRecord, ModelTrust } from '../../../src/layers/4-model/approval.ts';
import { makeSigningKey, publicPem, unwrapKey, wrapKey } from '../../../src/oms/operator-key.ts';
import { signPayload } from '../../../src/oms/signature.ts';
import type { FileToSign } from '../../../src/oms/statement.ts';
import { formatStatement, rootDigest } from '../../../src/oms/statement.ts';
import { codeOf, fault } from '../../support/trees.ts';

const digest = createHash('sha256').update('weights').digest('hex');
const alone: FileToSign[] = [{ name: 'w.gguf', size: 7, digest, role: roles.weightsAlone }];
const addedAt = '2026-11-23T00:00:00Z';

function setUp(files = alone, name = 'tiny'): { record: ModelRecord; trust: ModelTrust; privateKey: KeyObject } {
  const { privateKey, publicKey } = makeSigningKey();
  const bundle = Buffer.from(signPayload(formatStatement(name, files, { kind: 'files' }, []), privateKey, fault));
  return {
    record: { name: 'tiny', path: '/models', addedAt, bundle },
    trust: {
      keys: [{ pem: publicPem(publicKey), label: 'me', only: undefined, addedAt }],
      approved: new Map([['tiny', rootDigest(files.map((file) => file.digest!))]]),
    },
    privateKey,
  };
}
const approve = (record: ModelRecord, trust: ModelTrust) =>
  codeOf(() => approveRecord(record, trust, new Date(), true));

test('a signed record approves its model; records and trust are read back as written', () => {
  const { record, trust } = setUp();
  const model = approveRecord(
    parseRecord(formatRecord(record), fault),
    parseTrust(formatTrust(trust), fault),
    new Date(),
    false,
  );
  assert.deepEqual(
    [model.name, model.weights, model.wholeFolder, model.trust],
    ['tiny', ['w.gguf'], false, 'separate'],
  );
});

test('L4-06, L4-07, L4-10: no approval, no serving', () => {
  const { record, trust } = setUp();
  assert.equal(approve(record, { ...trust, keys: [] }), 'L4_SIGNER_UNTRUSTED');
  assert.equal(
    approve(record, { ...trust, keys: [{ ...trust.keys[0]!, only: 'other' }] }),
    'L4_SIGNER_UNTRUSTED',
    'a key for another model only',
  );
  assert.equal(approve(record, { ...trust, approved: new Map() }), 'L4_MODEL_UNAPPROVED');
  assert.equal(
    approve(record, { ...trust, approved: new Map([['tiny', 'ab'.repeat(32)]]) }),
    'L4_MANIFEST_ROLLBACK',
    'an older manifest by the same key',
  );
  assert.equal(approve({ ...record, bundle: Buffer.from('{}') }, trust), 'L4_BUNDLE_SHAPE');
  assert.equal(approve(setUp(alone, 'other').record, trust), 'L4_SIGNER_UNTRUSTED');
  const other = setUp(alone, 'other');
  assert.equal(approve(other.record, other.trust), 'L4_NAME_MISMATCH', 'L4-02: signed for another name');
});

test('roles are signed, and must agree with one another', () => {
  const none = setUp([{ name: 'w.gguf', size: 7, digest }]);
  assert.equal(approve(none.record, none.trust), 'L4_WEIGHTS_ABSENT');
  const mixed = setUp([
    { name: 'a.json', size: 7, digest },
    { name: 'w.gguf', size: 7, digest, role: roles.weightsAlone },
  ]);
  assert.equal(approve(mixed.record, mixed.trust), 'L4_STATEMENT_SHAPE');
  const folder = setUp([
    { name: 'a.json', size: 7, digest },
    { name: 'w.gguf', size: 7, digest, role: roles.weights },
  ]);
  assert.equal(approveRecord(folder.record, folder.trust, new Date(), true).wholeFolder, true);
});

test('damaged records and trust files are refused', () => {
  for (const text of ['', '{}', '{"version":2}', '[]']) {
    assert.equal(
      codeOf(() => parseRecord(text, fault)),
      'L4_RECORD_SHAPE',
    );
    assert.equal(
      codeOf(() => parseTrust(text, fault)),
      'L4_TRUST_SHAPE',
    );
  }
  const { record } = setUp();
  assert.equal(
    codeOf(() => parseRecord(formatRecord({ ...record, name: '../x' }), fault)),
    'L4_RECORD_SHAPE',
    'L4-24',
  );
  assert.equal(
    codeOf(() => parseRecord(formatRecord({ ...record, path: 'relative' }), fault)),
    'L4_RECORD_SHAPE',
  );
});

test('the operator key opens with its passphrase only, and its file does not hold it in the clear', () => {
  const { privateKey } = makeSigningKey();
  const text = wrapKey(privateKey, Buffer.from('correct horse'));
  const clear = privateKey.export({ type: 'pkcs8', format: 'der' });
  assert.ok(!text.includes(clear.toString('base64').slice(20, 60)));
  assert.ok(unwrapKey(text, Buffer.from('correct horse'), fault).equals(privateKey));
  assert.equal(
    codeOf(() => unwrapKey(text, Buffer.from('wrong'), fault)),
    'L4_KEY_INVALID',
  );
  assert.equal(
    codeOf(() => unwrapKey(text.replace('"memory": 65536', '"memory": 8'), Buffer.from('correct horse'), fault)),
    'L4_KEY_INVALID',
  );
});
