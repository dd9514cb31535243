/**
 * A model with the keyless signature of its maker, from end to end: signed under a root of the test's own, which stands
 * in a copy of the program, and added by the real command. One change at a time and nothing is approved.
 * @module
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { excludedFiles } from '../../src/cli/model/upstream-signature.ts';
import { defaultExclusions, formatStatement, parseStatement } from '../../src/oms/statement.ts';
import { hashFiles } from '../../src/oms/signer.ts';
import { signPayload } from '../../src/oms/signature.ts';
import { listModelRecords } from '../../src/state/model-records.ts';
import { kwyre, makeState } from '../support/approved.ts';
import { tagged } from '../support/certificate.ts';
import { copyInstallation } from '../support/copy.ts';
import { tinyShape, writeModel } from '../support/gguf.ts';
import type { Entry, KeylessBundle, Maker, Otherwise } from '../support/sigstore.ts';
import { Sigstore } from '../support/sigstore.ts';
import { root as repository } from '../support/server.ts';
import { stamp } from '../support/timestamp.ts';
import { anyRights, fault, makeKey, makeTree } from '../support/trees.ts';

const sigstore = new Sigstore();
const copy = copyInstallation();
const folder = makeTree({ 'README.md': 'a model of random weights\n' });
after(() => {
  copy[Symbol.dispose]();
  folder[Symbol.dispose]();
});
fs.writeFileSync(join(copy.path, 'src/cli/trusted-root.json'), sigstore.trustedRoot());
writeModel(join(folder.path, 'tiny.gguf'), tinyShape);

const maker: Maker = { identity: 'maker@models.test', issuer: 'https://accounts.test' };
const files = hashFiles(
  {
    disk: fs,
    layer: 4,
    root: folder.path,
    only: undefined,
    excluded: excludedFiles,
    rights: anyRights,
    name: 'tiny',
    method: { kind: 'files' },
  },
  fault,
);
const statement = formatStatement('tiny', files, { kind: 'files' }, [...defaultExclusions, 'model.sig']);
const another = formatStatement('tiny', files.slice(0, 1), { kind: 'files' }, []);
const sign = (otherwise?: Otherwise, who = maker): KeylessBundle => sigstore.sign(statement, who, otherwise);

/** Adds the folder with this signature in it; says what was approved afterwards. */
function add(
  bundle: KeylessBundle | Buffer | undefined,
  more: readonly string[] = [],
  repository = copy.path,
): { code: number | null; output: string; approved: string[] } {
  using state = makeState();
  const signature = join(folder.path, 'model.sig');
  if (bundle === undefined) fs.rmSync(signature, { force: true });
  else fs.writeFileSync(signature, Buffer.isBuffer(bundle) ? bundle : JSON.stringify(bundle));
  const { code, output } = kwyre(
    ['model', 'add', folder.path, '--name', 'tiny', '--yes', '--state', state.path, ...more],
    repository,
  );
  return { code, output, approved: listModelRecords(state.path) };
}

function refused(result: ReturnType<typeof add>, reason: RegExp): void {
  assert.equal(result.code, 14, result.output);
  assert.match(result.output, reason);
  assert.deepEqual(result.approved, []);
}

test('the signature holds: the model is approved, and who signed is said exactly as the certificate has it', () => {
  const bundle = sign();
  const { code, output, approved } = add(bundle, ['--json']);
  assert.equal(code, 0, output);
  assert.deepEqual(approved, ['tiny']);
  const told = JSON.parse(output) as { upstream: string; root: string; files: number };
  assert.equal(
    told.upstream,
    'model.sig: verified, 2 files, signed keyless by maker@models.test (issuer https://accounts.test); check that this is the maker of the model',
  );
  assert.equal(
    told.root,
    parseStatement(statement, { allowedIgnores: ['model.sig'] }, fault).root,
    'the digest over what the maker signed',
  );
  assert.equal(told.files, 2);
  const human = add(bundle, ['--upstream-identity', 'maker@models.test', '--upstream-issuer', 'https://accounts.test']);
  assert.equal(human.code, 0, human.output);
  assert.match(
    human.output,
    /^upstream {5}model\.sig: verified, 2 files, signed keyless by maker@models\.test \(issuer https:\/\/accounts\.test\)$/m,
  );
  assert.ok(human.output.includes(`root sha256:${told.root}`), human.output);
});

test('a flipped byte of a file', () => {
  const path = join(folder.path, 'tiny.gguf');
  const bytes = fs.readFileSync(path);
  const flipped = Buffer.from(bytes);
  flipped[flipped.length - 100]! ^= 1;
  fs.writeFileSync(path, flipped);
  try {
    refused(add(sign()), /changed: tiny\.gguf[\s\S]*it differs from what its maker signed/);
  } finally {
    fs.writeFileSync(path, bytes);
  }
});

test('signed under another root: one of somebody, the public one here, and this one there', () => {
  const stranger = new Sigstore().sign(statement, maker);
  refused(add(stranger), /keyless signature is invalid \(CERTIFICATE_ERROR\)/);
  const vector = fs.readFileSync(join(import.meta.dirname, '../vectors/oms/spec-v1.0/valid/sigstore.bundle.json'));
  refused(add(vector), /keyless signature is invalid \(\w+_ERROR\)/);
  refused(add(sign(), [], repository), /keyless signature is invalid \(CERTIFICATE_ERROR\)/);
});

test('signed after the certificate ended, or before it began, by the time of the log', () => {
  refused(add(sign({ after: 601 })), /is invalid \(CERTIFICATE_ERROR\)/);
  refused(add(sign({ after: -1 })), /is invalid \(CERTIFICATE_ERROR\)/);
});

test('another signature: by a key that is not certified, and put in after the log had the true one', () => {
  refused(add(sign({ key: makeKey().privateKey })), /is invalid \(SIGNATURE_ERROR\)/);
  const bundle = sign();
  bundle.dsseEnvelope.signatures = sign().dsseEnvelope.signatures;
  refused(add(bundle), /is invalid \(TLOG_BODY_ERROR\)/);
});

test('an entry of the log that belongs to another statement, and a statement that has no entry', () => {
  const other = sigstore.sign(another, maker);
  const bundle = sign();
  bundle.verificationMaterial.tlogEntries = other.verificationMaterial.tlogEntries;
  refused(add(bundle), /is invalid \(TLOG_BODY_ERROR\)/);
  refused(
    add({ ...other, dsseEnvelope: { ...other.dsseEnvelope, payload: statement.toString('base64') } }),
    /is invalid \(TLOG_BODY_ERROR\)/,
  );
});

const entryOf = (bundle: KeylessBundle): Entry => bundle.verificationMaterial.tlogEntries[0]!;
const forgeries: Readonly<Record<string, [(entry: Entry) => void, RegExp]>> = {
  'another time': [
    (entry) => {
      entry.integratedTime = String(Number(entry.integratedTime) + 1);
    },
    /TLOG_INCLUSION_PROMISE_ERROR/,
  ],
  'a body of its own': [
    (entry) => {
      entry.canonicalizedBody = entryOf(sign()).canonicalizedBody;
    },
    /TLOG_INCLUSION_PROMISE_ERROR/,
  ],
  'the promise of another entry': [
    (entry) => {
      entry.inclusionPromise = entryOf(sign()).inclusionPromise!;
    },
    /TLOG_INCLUSION_PROMISE_ERROR/,
  ],
  'no promise, so no time': [
    (entry) => {
      delete entry.inclusionPromise;
    },
    /TIMESTAMP_ERROR/,
  ],
  'the proof of another entry': [
    (entry) => {
      entry.inclusionProof = entryOf(sign()).inclusionProof;
    },
    /TLOG_INCLUSION_PROOF_ERROR/,
  ],
  'the state of another log': [
    (entry) => {
      entry.inclusionProof.checkpoint = entryOf(new Sigstore().sign(statement, maker)).inclusionProof.checkpoint;
    },
    /TLOG_INCLUSION_PROOF_ERROR/,
  ],
};

for (const [what, [forge, reason]] of Object.entries(forgeries)) {
  test(`in the log: ${what}`, () => {
    const bundle = sign();
    forge(entryOf(bundle));
    refused(add(bundle), reason);
  });
}

test('a certificate that no log of certificates has seen', () => {
  refused(add(sign({ unseen: true })), /is invalid \(CERTIFICATE_ERROR\)/);
});

test('a good signature by somebody else than asked for', () => {
  for (const wanted of [
    ['--upstream-identity', 'maker@models.tes'],
    ['--upstream-identity', 'maker@models.test', '--upstream-issuer', 'https://accounts.example'],
  ]) {
    refused(
      add(sign(), wanted),
      /the maker's signature is by maker@models\.test \(https:\/\/accounts\.test\), not by the given identity and issuer/,
    );
  }
});

const bell = '\u001b[2Jmaker@models.test\u0007';
const high = (text: string): Buffer => Buffer.from([text.charCodeAt(0) | 0x80, ...Buffer.from(text.slice(1))]);
const disguises: Readonly<Record<string, Partial<Maker>>> = {
  'control characters': { identity: bell },
  'a new line': { identity: 'maker@models.test\nupstream     none' },
  'words behind it': { identity: 'maker@models.test (issuer https://accounts.test)' },
  'a zero in it': { identity: 'maker@models.test\0.example' },
  'bytes outside ASCII that a reader may fold into it': { identity: high('maker@models.test') },
  'a second name': { others: [tagged(0x81, Buffer.from('somebody@example.com'))] },
  'a second name that is read first': { others: [tagged(0x86, Buffer.from('https://models.test/maker'))] },
  'no name': { identity: '' },
  'control characters in the issuer': { issuer: `https://accounts.test${bell}` },
  'an issuer that a reader may fold': { issuer: high('https://accounts.test') },
};

for (const [what, changes] of Object.entries(disguises)) {
  test(`a certificate by the authority with ${what}`, () => {
    for (const more of [[], ['--json'], ['--upstream-identity', 'maker@models.test']]) {
      const result = add(sign({}, { ...maker, ...changes }), more);
      refused(result, /must name one mail or web address and its issuer in plain ASCII/);
      assert.doesNotMatch(result.output, /[^\n\x20-\x7e]/);
    }
  });
}

test('a long web address is shown and compared as a whole', () => {
  const identity = `https://models.test/${'folder/'.repeat(60)}release.yml@refs/heads/main,2`;
  const bundle = sign({}, { ...maker, identity, kind: 'web' });
  const { code, output } = add(bundle, ['--json', '--upstream-identity', identity]);
  assert.equal(code, 0, output);
  assert.ok(output.includes(`keyless by ${identity} (issuer`), output);
  refused(add(bundle, ['--upstream-identity', `${identity}3`]), /not by the given identity and issuer/);
});

test('whoever asks for a maker is not content with less: no signature, or one of the other kind', () => {
  const { privateKey, publicKey } = makeKey();
  using keys = makeTree({ 'maker.pem': publicKey.export({ type: 'spki', format: 'pem' }) });
  const pem = join(keys.path, 'maker.pem');
  const byKey = Buffer.from(signPayload(statement, privateKey, fault));
  assert.match(
    add(byKey, ['--upstream-key', pem]).output,
    /^upstream {5}model\.sig: verified, 2 files, signed by key [0-9a-f]{16}$/m,
  );
  refused(add(byKey, ['--upstream-identity', 'maker@models.test']), /not keyless/);
  refused(add(byKey, ['--upstream-key', pem, '--upstream-issuer', 'https://accounts.test']), /not keyless/);
  refused(add(sign(), ['--upstream-key', pem]), /is keyless, not by the given key or certificate/);
  for (const wanted of [
    ['--upstream-identity', 'maker@models.test'],
    ['--upstream-issuer', 'https://accounts.test'],
    ['--upstream-key', pem],
    ['--upstream-root', pem],
  ]) {
    refused(add(undefined, wanted), /has no signature of the maker/);
  }
  assert.equal(add(undefined).code, 0);
});

test('one file of the folder: what is approved and what the maker signed are counted apart', () => {
  using state = makeState();
  fs.writeFileSync(join(folder.path, 'model.sig'), JSON.stringify(sign()));
  const { code, output } = kwyre(
    ['model', 'add', join(folder.path, 'tiny.gguf'), '--yes', '--state', state.path],
    copy.path,
  );
  assert.equal(code, 0, output);
  assert.match(output, /verified, 2 files, signed keyless by maker@models\.test/);
  assert.match(output, /approved: tiny, 1 file,/);
});

const stamped = (otherwise: Otherwise = {}): KeylessBundle => sign({ stamped: true, ...otherwise });

test('the newer form, with a time stamp in place of the time of the log, holds too', () => {
  const { code, output, approved } = add(stamped(), [
    '--json',
    '--upstream-identity',
    'maker@models.test',
    '--upstream-issuer',
    'https://accounts.test',
  ]);
  assert.equal(code, 0, output);
  assert.deepEqual(approved, ['tiny']);
  assert.match(output, /verified, 2 files, signed keyless by maker@models\.test \(issuer https:\/\/accounts\.test\)"/);
});

test('a time stamp over another signature, by an authority of nobody, and none', () => {
  const bundle = stamped();
  const stamps = (bundle.verificationMaterial.timestampVerificationData = {
    rfc3161Timestamps: stamped().verificationMaterial.timestampVerificationData!.rfc3161Timestamps,
  });
  refused(add(bundle), /TIMESTAMP_ERROR/);
  const signature = Buffer.from(bundle.dsseEnvelope.signatures[0]!.sig, 'base64');
  const signedTimestamp = stamp(
    signature,
    new Date('2026-03-04T05:06:12Z'),
    { name: 'clock of the test', ...makeKey() },
    { name: 'root of the test', ...makeKey() },
  );
  stamps.rfc3161Timestamps = [{ signedTimestamp: signedTimestamp.toString('base64') }];
  refused(add(bundle), /TIMESTAMP_ERROR/);
  stamps.rfc3161Timestamps = [];
  refused(add(bundle), /TIMESTAMP_ERROR/);
});

test('stamped after the certificate ended, and an entry of the newer log for another statement', () => {
  refused(add(stamped({ after: 601 })), /CERTIFICATE_ERROR/);
  const bundle = stamped();
  bundle.verificationMaterial.tlogEntries = sigstore.sign(another, maker, {
    stamped: true,
  }).verificationMaterial.tlogEntries;
  refused(add(bundle), /TLOG_BODY_ERROR/);
});
