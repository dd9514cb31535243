/**
 * The operator's approval of a model: a record with the signed manifest, and the trusted keys.
 *
 * Promise: the signature covers the name, the files, which of them the engine maps, and whether the folder may contain
 *          other files. The approved root digest is stored with the trusted keys, so an older manifest with the same
 *          name is refused.
 * Trust:   the trust file is the root of trust; the record is trusted only if its signature is valid.
 * Proof:   test/unit/layers/4-approval.test.ts
 * @module
 */
import type { Fault } from '../../oms/verification-error.ts';
import { faultsOf } from '../../oms/verification-error.ts';
import { parseBundle } from '../../oms/bundle.ts';
import { keyIdOf, parsePublicKey, verifySignature } from '../../oms/signature.ts';
import type { Statement } from '../../oms/statement.ts';
import { defaultExclusions, parseStatement } from '../../oms/statement.ts';
import { Shape } from '../../oms/json-shape.ts';
import type { ApprovedModel } from './model-verifier.ts';

/** Names that a model may have; the name is also the name of the record file. */
export const modelNamePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Names of signature files in a model's folder. */
export const signatureNames = ['model.sig'] as const;

/** An added model: its location and the signed manifest. */
export type ModelRecord = {
  readonly name: string;
  readonly path: string;
  readonly addedAt: string;
  readonly bundle: Buffer;
};

/** A key that may approve every model, or `only` one. */
export type TrustedKey = {
  readonly pem: string;
  readonly label: string;
  readonly only: string | undefined;
  readonly addedAt: string;
};

/** The keys that may approve models, and the root digest that was last approved for each name. */
export type ModelTrust = { readonly keys: readonly TrustedKey[]; readonly approved: ReadonlyMap<string, string> };

/** A trust file without keys. */
export const emptyTrust: ModelTrust = { keys: [], approved: new Map() };

const anyText = /^[^\0]{1,4096}$/;

/** Parses the trust file. @throws `L4_TRUST_SHAPE` */
export function parseTrust(text: string, fault: Fault): ModelTrust {
  const shape = new Shape(fault, 'TRUST_SHAPE', 'the trust file');
  const outer = shape.object(shape.json(Buffer.from(text, 'utf8'), 4 << 20), 'trust', ['version', 'keys', 'approved']);
  if (outer['version'] !== 1) shape.refuse('version', 'is not supported');
  const keys = shape.list(outer['keys'], 'keys', 0, 1024).map((entry): TrustedKey => {
    const key = shape.object(entry, 'key', ['pem', 'label', 'only', 'addedAt']);
    return {
      pem: shape.text(key['pem'], 'pem', anyText),
      label: shape.text(key['label'], 'label', anyText),
      only: key['only'] === null ? undefined : shape.text(key['only'], 'only', modelNamePattern),
      addedAt: shape.text(key['addedAt'], 'addedAt', anyText),
    };
  });
  const approved = shape.list(outer['approved'], 'approved', 0, 4096).map((entry): [string, string] => {
    const pair = shape.object(entry, 'approved', ['name', 'root']);
    return [shape.text(pair['name'], 'name', modelNamePattern), shape.text(pair['root'], 'root', /^[0-9a-f]{64}$/)];
  });
  return { keys, approved: new Map(approved) };
}

/** Returns the text of the trust file. */
export function formatTrust(trust: ModelTrust): string {
  const keys = trust.keys.map((key) => ({ ...key, only: key.only ?? null }));
  const approved = [...trust.approved].map(([name, root]) => ({ name, root }));
  return `${JSON.stringify({ version: 1, keys, approved }, null, 2)}\n`;
}

/** Parses a record. @throws `L4_RECORD_SHAPE` */
export function parseRecord(text: string, fault: Fault): ModelRecord {
  const shape = new Shape(fault, 'RECORD_SHAPE', 'the record of the model');
  const outer = shape.object(shape.json(Buffer.from(text, 'utf8'), 96 << 20), 'record', [
    'version',
    'name',
    'path',
    'addedAt',
    'bundle',
  ]);
  if (outer['version'] !== 1) shape.refuse('version', 'is not supported');
  return {
    name: shape.text(outer['name'], 'name', modelNamePattern),
    path: shape.text(outer['path'], 'path', /^\/[^\0]{0,4095}$/),
    addedAt: shape.text(outer['addedAt'], 'addedAt', anyText),
    bundle: shape.base64(outer['bundle'], 'bundle'),
  };
}

/** Returns the text of a record. */
export function formatRecord({ name, path, addedAt, bundle }: ModelRecord): string {
  return `${JSON.stringify({ version: 1, name, path, addedAt, bundle: bundle.toString('base64') })}\n`;
}

/** Roles of files that the engine maps. `weights-alone` means that the rest of the folder is not part of the model. */
export const roles = { weights: 'weights', weightsAlone: 'weights-alone' } as const;

function weightsOf(statement: Statement, fault: Fault): { weights: string[]; wholeFolder: boolean } {
  const mapped = statement.files.filter((file) => file.role === roles.weights || file.role === roles.weightsAlone);
  if (mapped.length === 0) throw fault('WEIGHTS_ABSENT', 'the manifest does not say which file contains the weights');
  const alone = mapped.filter((file) => file.role === roles.weightsAlone).length;
  if (alone !== 0 && (alone !== mapped.length || mapped.length !== statement.files.length))
    throw fault('STATEMENT_SHAPE', 'the manifest contradicts itself about which files belong to the model');
  return { weights: mapped.map((file) => file.name), wholeFolder: alone === 0 };
}

/**
 * Returns the model that a record approves.
 * @param sameOwner - whether the user who runs the server owns the trust file
 * @throws `L4_SIGNER_UNTRUSTED`, `L4_SIGNATURE_INVALID`, `L4_MANIFEST_ROLLBACK`, `L4_MODEL_UNAPPROVED`,
 * `L4_STATEMENT_*`
 */
export function approveRecord(record: ModelRecord, trust: ModelTrust, now: Date, sameOwner: boolean): ApprovedModel {
  const fault = faultsOf(
    4,
    `inspect the model and approve it again: ./kwyre model add ${record.path} --name ${record.name}`,
  );
  const labels = new Map<string, string>();
  const keys = trust.keys
    .filter((key) => key.only === undefined || key.only === record.name)
    .map((key) => {
      const parsed = parsePublicKey(key.pem, fault);
      labels.set(keyIdOf(parsed), key.label);
      return parsed;
    });
  const bundle = parseBundle(record.bundle, fault);
  const signer = verifySignature(bundle, { keys, roots: [] }, now, fault);
  const statement = parseStatement(bundle.payload, { allowedIgnores: signatureNames }, fault);
  if (statement.name !== record.name)
    throw fault('NAME_MISMATCH', `the manifest is signed for a name other than ${record.name}`);
  const approved = trust.approved.get(record.name);
  if (approved === undefined) throw fault('MODEL_UNAPPROVED', `the model ${record.name} is not approved`);
  if (approved !== statement.root)
    throw fault('MANIFEST_ROLLBACK', `the manifest of ${record.name} is not the last one that was approved`);
  const { weights, wholeFolder } = weightsOf(statement, fault);
  const keyId = signer.method === 'key' ? signer.keyId : signer.fingerprint;
  const target = wholeFolder ? record.path : `${record.path}/${weights[0] ?? ''}`;
  return {
    name: record.name,
    root: record.path,
    files: statement.files,
    shardBytes: statement.method.kind === 'shards' ? statement.method.shardBytes : undefined,
    weights,
    wholeFolder,
    excluded: new Set([...defaultExclusions, ...signatureNames]),
    signer: `signed by ${labels.get(keyId) ?? 'a trusted key'} (key ${keyId.slice(0, 16)})`,
    trust: sameOwner ? 'owner' : 'separate',
    remedy: `if you changed the model: ./kwyre model add ${target} --name ${record.name}; if not, download it again`,
  };
}
