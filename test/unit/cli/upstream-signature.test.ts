/**
 * The maker's signature beside a model: keyless, offline, against the pinned root; good, forged, and by another.
 * @module
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { verifyKeyless } from '../../../src/cli/model/sigstore.ts';
import { kwyre, makeState } from '../../support/approved.ts';
import { tinyShape, writeModel } from '../../support/gguf.ts';
import { fault, makeTree } from '../../support/trees.ts';

const vectors = join(import.meta.dirname, '..', '..', 'vectors', 'oms');
const bytes = fs.readFileSync(join(vectors, 'spec-v1.0/valid/sigstore.bundle.json'));
const edited = (edit: (bundle: Bundle) => void): Buffer => {
  const bundle = JSON.parse(bytes.toString()) as Bundle;
  edit(bundle);
  return Buffer.from(JSON.stringify(bundle));
};
type Bundle = {
  verificationMaterial: {
    tlogEntries: { integratedTime: string; inclusionPromise?: unknown; inclusionProof?: unknown }[];
  };
  dsseEnvelope: { payload: string; signatures: { sig: string }[] };
};

test('the signature of the specification holds, offline, and says who', async () => {
  const signer = await verifyKeyless(bytes, {}, fault);
  assert.match(signer.identity, /@/);
  assert.match(signer.issuer, /^https:\/\//);
  await verifyKeyless(bytes, signer, fault);
  await assert.rejects(verifyKeyless(bytes, { ...signer, identity: 'somebody@example.com' }, fault), {
    code: 'L4_SIGNER_UNTRUSTED',
  });
  await assert.rejects(verifyKeyless(bytes, { ...signer, issuer: 'https://example.com' }, fault), {
    code: 'L4_SIGNER_UNTRUSTED',
  });
});

test('another payload, another signature, no log, another time: bad evidence', async () => {
  for (const forged of [
    edited((bundle) => {
      bundle.dsseEnvelope.payload = Buffer.from(
        Buffer.from(bundle.dsseEnvelope.payload, 'base64').toString().replace('signme-1', 'signme-9'),
      ).toString('base64');
    }),
    edited((bundle) => {
      bundle.dsseEnvelope.signatures[0]!.sig = bundle.dsseEnvelope.signatures[0]!.sig.replace(/.(?=.{9}$)/, (char) =>
        char === 'A' ? 'B' : 'A',
      );
    }),
    edited((bundle) => {
      bundle.verificationMaterial.tlogEntries = [];
    }),
    edited((bundle) => {
      bundle.verificationMaterial.tlogEntries[0]!.integratedTime = '1860062340';
    }),
    Buffer.from('{}'),
  ]) {
    await assert.rejects(verifyKeyless(forged, {}, fault), { code: 'L4_SIGNATURE_INVALID' });
  }
});

test('model add verifies a keyless signature for real; one that leaves a file out is not taken, whoever made it', () => {
  using state = makeState();
  using folder = makeTree({ 'model.sig': bytes, 'signme-1': 'signme-1', 'signme-2': 'signme-2' });
  writeModel(join(folder.path, 'tiny.gguf'), tinyShape);
  const add = (...more: string[]) =>
    kwyre(['model', 'add', folder.path, '--name', 'tiny', '--yes', '--state', state.path, ...more]);
  const { code, output } = add();
  assert.equal(code, 14, output);
  assert.match(output, /the signature excludes ignore-me, which would never be checked/);
  assert.match(add('--upstream-identity', 'somebody@example.com').output, /not by the given identity and issuer/);
  fs.writeFileSync(
    join(folder.path, 'model.sig'),
    edited((bundle) => {
      bundle.verificationMaterial.tlogEntries[0]!.integratedTime = '1860062340';
    }),
  );
  assert.match(add().output, /the maker's keyless signature is invalid/);
});
