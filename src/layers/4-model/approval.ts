/**
 * The approval of a model that the operator added: a record with the signed manifest, and the keys that are trusted.
 *
 * Promise: name, files, what the engine maps and whether the folder may hold more are all under the signature; the
 *          approved root digest is kept with the trusted keys, so that an older manifest of the same name is refused.
 * Trust:   the record is as good as its signature; the trust file is the root of it.
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

/** Names that a model can have; also the name of its record's file. */
export const modelNamePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** The signature file that may lie in a model's folder. */
export const signatureNames = ['model.sig'] as const;

/** A model that was added: where it is, and the signed manifest. */
export type ModelRecord = {
  readonly name: string;
  readonly path: string;
  readonly addedAt: string;
  readonly bundle: Buffer;
};

/** A key that may approve models: all of them, or one. */
export type TrustedKey = {
  readonly pem: string;
  readonly label: string;
  readonly only: string | undefined;
  readonly addedAt: string;
};

/** Who may approve, and what was approved last under each name. */
export type ModelTrust = { readonly keys: readonly TrustedKey[]; readonly approved: ReadonlyMap<string, string> };

export const emptyTrust: ModelTrust = { keys: [], approved: new Map() };

const anyText = /^[^\0]{1,4096}$/;

/** Parses the trust file. @throws `L4_TRUST_SHAPE` */
export function parseTrust(text: string, fault: Fault): ModelTrust {
  const shape = new Shape(fault, 'TRUST_SHAPE', 'the file of trusted keys');
  const outer = shape.object(shape.json(Buffer.from(text, 'utf8'), 4 << 20), 'trust', ['version', 'keys', 'approved']);
  if (outer['version'] !== 1) shape.refuse('version', 'is not known here');
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

export function formatTrust(trust: ModelTrust): string {
  const keys = trust.keys.map((key) => ({ ...key, only: key.only ?? null }));
  return `${JSON.stringify({ version: 1, keys, approved: [...trust.approved].map(([name, root]) => ({ name, root })) }, null, 2)}\n`;
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
  if (outer['version'] !== 1) shape.refuse('version', 'is not known here');
  return {
    name: shape.text(outer['name'], 'name', modelNamePattern),
    path: shape.text(outer['path'], 'path', /^\/[^\0]{0,4095}$/),
    addedAt: shape.text(outer['addedAt'], 'addedAt', anyText),
    bundle: shape.base64(outer['bundle'], 'bundle'),
  };
}

export function formatRecord(record: ModelRecord): string {
  return `${JSON.stringify({ version: 1, name: record.name, path: record.path, addedAt: record.addedAt, bundle: record.bundle.toString('base64') })}\n`;
}

/**
 * Roles of files in a manifest: what the engine maps; `weights-alone` says that the folder is not part of the model.
 */
export const roles = { weights: 'weights', weightsAlone: 'weights-alone' } as const;

function weightsOf(statement: Statement, fault: Fault): { weights: string[]; wholeFolder: boolean } {
  const mapped = statement.files.filter((file) => file.role === roles.weights || file.role === roles.weightsAlone);
  if (mapped.length === 0) throw fault('WEIGHTS_ABSENT', 'the manifest does not say which file holds the weights');
  const alone = mapped.filter((file) => file.role === roles.weightsAlone).length;
  if (alone !== 0 && (alone !== mapped.length || mapped.length !== statement.files.length))
    throw fault('STATEMENT_SHAPE', 'the manifest contradicts itself about the folder of the model');
  return { weights: mapped.map((file) => file.name), wholeFolder: alone === 0 };
}

/**
 * What a record approves, if it is signed by somebody who is trusted for this name.
 * @param sameOwner - whether the trust file belongs to the user who serves
 * @throws `L4_SIGNER_UNTRUSTED`, `L4_SIGNATURE_INVALID`, `L4_MANIFEST_ROLLBACK`, `L4_MODEL_UNAPPROVED`,
 * `L4_STATEMENT_*`
 */
export function approveRecord(record: ModelRecord, trust: ModelTrust, now: Date, sameOwner: boolean): ApprovedModel {
  const fault = faultsOf(
    4,
    `look at the model and approve it again: ./kwyre model add ${record.path} --name ${record.name}`,
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
    throw fault('NAME_MISMATCH', `the manifest was signed for another name than ${record.name}`);
  const approved = trust.approved.get(record.name);
  if (approved === undefined)
    throw fault('MODEL_UNAPPROVED', `the model ${record.name} is not among the approved ones`);
  if (approved !== statement.root)
    throw fault('MANIFEST_ROLLBACK', `the manifest of ${record.name} is not the one that was approved last`);
  const { weights, wholeFolder } = weightsOf(statement, fault);
  const keyId = signer.method === 'key' ? signer.keyId : signer.fingerprint;
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
    remedy: `if you changed the model yourself: ./kwyre model add ${wholeFolder ? record.path : `${record.path}/${weights[0] ?? ''}`} --name ${record.name}; if not, get it again from where it came`,
  };
}
