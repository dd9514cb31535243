/**
 * The signed statement of facts that a list of files cannot contain: sequence number, reason, lockfile, system
 * libraries.
 *
 * Proof: test/unit/layers/3-signed-tree.test.ts
 * @module
 */
import type { KeyObject } from 'node:crypto';
import { Shape } from '../../../oms/json-shape.ts';
import { signPayload } from '../../../oms/signature.ts';
import { statementType } from '../../../oms/statement.ts';
import { signatureFault } from './trust-file.ts';

const runtimeType = 'https://kwyre.dev/integrity/runtime/v1';

/** A system library, outside the installation. */
export type SystemLibrary = { readonly path: string; readonly sha256: string };

/** The runtime statement. */
export type RuntimeStatement = {
  readonly sequence: number;
  readonly sealedAt: string;
  readonly reason: string;
  /** Root digest over all signed files. */
  readonly root: string;
  readonly previous: string | null;
  readonly lockfile: string;
  readonly libraries: readonly SystemLibrary[];
};

const digest = /^[0-9a-f]{64}$/;
const line = /^[^\0\n]{0,1024}$/;

/** Signs a runtime statement and returns its bundle. */
export function signRuntimeStatement(runtime: RuntimeStatement, key: KeyObject): string {
  const statement = {
    _type: statementType,
    subject: [{ name: 'kwyre', digest: { sha256: runtime.root } }],
    predicateType: runtimeType,
    predicate: runtime,
  };
  return signPayload(Buffer.from(JSON.stringify(statement), 'utf8'), key, signatureFault);
}

/** Parses a verified runtime statement. @throws `L3_RUNTIME_SHAPE` */
export function parseRuntimeStatement(payload: Buffer): RuntimeStatement {
  const shape = new Shape(signatureFault, 'RUNTIME_SHAPE', 'the runtime statement');
  const outer = shape.object(shape.json(payload, 4 << 20), 'statement', [
    '_type',
    'subject',
    'predicateType',
    'predicate',
  ]);
  shape.same(outer['_type'], '_type', statementType);
  shape.same(outer['predicateType'], 'predicateType', runtimeType);
  const fields = shape.object(outer['predicate'], 'predicate', [
    'sequence',
    'sealedAt',
    'reason',
    'root',
    'previous',
    'lockfile',
    'libraries',
  ]);
  return {
    sequence: shape.integer(fields['sequence'], 'sequence', 1),
    sealedAt: shape.text(fields['sealedAt'], 'sealedAt', line),
    reason: shape.text(fields['reason'], 'reason', line),
    root: shape.text(fields['root'], 'root', digest),
    previous: fields['previous'] === null ? null : shape.text(fields['previous'], 'previous', digest),
    lockfile: shape.text(fields['lockfile'], 'lockfile', /^[0-9a-f]{128}$/),
    libraries: shape.list(fields['libraries'], 'libraries', 0, 256).map((entry): SystemLibrary => {
      const library = shape.object(entry, 'library', ['path', 'sha256']);
      return {
        path: shape.text(library['path'], 'path', /^\/[^\0\n]{1,1023}$/),
        sha256: shape.text(library['sha256'], 'sha256', digest),
      };
    }),
  };
}
