/**
 * The seal of an installation: a signed list of every file that runs, and a signed statement of what a list cannot say.
 *
 * Promise: own code, page, packages, native libraries and Node are under one signature; a seal that is missing,
 *          damaged, older than the last one or by another key than the last one refuses the start (exit 13).
 * Trust:   the trust file (public key, last sequence, root digest) is the root: root's in `/etc/kwyre` when installed.
 * Limits:  libraries of the system that changed since are shown, not refused: root updates them.
 * Proof:   test/unit/layers/3-signed-tree.test.ts
 * @module
 */
import { createHash } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import type { Check } from '../../base/verdict.ts';
import { parseBundle } from '../../oms/bundle.ts';
import type { Hashed } from '../../oms/tree-reader.ts';
import { Hasher, openRegular } from '../../oms/tree-reader.ts';
import { DifferenceError, faultsOf, printable } from '../../oms/verification-error.ts';
import { Shape } from '../../oms/json-shape.ts';
import { keyIdOf, parsePublicKey, signPayload, verifySignature } from '../../oms/signature.ts';
import { parseStatement, statementType } from '../../oms/statement.ts';
import { compareTree } from '../../oms/manifest-verifier.ts';
import { mappingFaults } from './runtime-check.ts';
import { pathGrants, foundGrants, judgeAccess, refuseOtherWriters, signedEntries, sortAccess } from './tree-access.ts';
import type { PreparedTree, SeenSignature, TreeInput, VerifiedTree } from './tree-verifier.ts';
import {
  accessInput,
  identitiesOf,
  nodePath,
  processFaults,
  rightsChecks,
  treeRights,
  runtimeChecks,
} from './tree-verifier.ts';

export const runtimeType = 'https://kwyre.dev/integrity/runtime/v1';
const remedy =
  'if you changed the installation yourself: ./kwyre deps plan shows what, ./kwyre deps seal --reason "..." approves it; if not, install again';
export const signatureFault = faultsOf(3, remedy);

/** A library outside the installation. */
export type SystemLibrary = { readonly path: string; readonly sha256: string };

/** What the runtime statement says. */
export type RuntimeStatement = {
  readonly sequence: number;
  readonly sealedAt: string;
  readonly reason: string;
  /** Root digest over all sealed files. */
  readonly root: string;
  readonly previous: string | null;
  readonly lockfile: string;
  readonly libraries: readonly SystemLibrary[];
};

/** Who may seal, and what was sealed last. */
export type TrustFile = { readonly key: string; readonly sequence: number; readonly root: string };

/** The seal as it lies on the disk; the files may be absent, the trust file is there. */
export type SignatureFiles = {
  readonly trust: string;
  readonly tree: Buffer | undefined;
  readonly runtime: Buffer | undefined;
  /** Whether the trust file is root's, outside the installation. */
  readonly installed: boolean;
};

const digest = /^[0-9a-f]{64}$/;
const line = /^[^\0\n]{0,1024}$/;

export function parseTrustFile(text: string): TrustFile {
  const shape = new Shape(signatureFault, 'TRUST_SHAPE', 'the trust file of the seal');
  const fields = shape.object(
    shape.json(Buffer.from(text, 'utf8'), 64 << 10),
    'trust',
    ['version', 'key', 'sequence', 'root'],
    ['installation'],
  );
  if (fields['version'] !== 1) shape.refuse('version', 'is not known here');
  return {
    key: shape.text(fields['key'], 'key', /^[^\0]{1,4096}$/),
    sequence: shape.integer(fields['sequence'], 'sequence', 1),
    root: shape.text(fields['root'], 'root', digest),
  };
}

export function formatTrustFile(trust: TrustFile, installation: string): string {
  return `${JSON.stringify({ version: 1, installation, ...trust }, null, 2)}\n`;
}

/** Signs the runtime statement: the text of its bundle. */
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

/** Entries at the root that the seal leaves out. */
export function unsignedEntries(order: Pick<TreeInput, 'disk' | 'root'>): Set<string> {
  const sealed: readonly string[] = signedEntries;
  return new Set(order.disk.readdirSync(order.root).filter((name) => !sealed.includes(name)));
}

/** Digest of a library by its path; empty when it cannot be read. */
export function digestLibrary(order: Pick<TreeInput, 'disk'>, path: string): string {
  const opened = openRegular(order.disk, path);
  if (opened === undefined) return '';
  try {
    const hashed: Hashed = new Hasher(order.disk).whole(opened.fd);
    return hashed.digest;
  } finally {
    order.disk.closeSync(opened.fd);
  }
}

/**
 * Whether a seal can follow the one that was seen last; where root keeps the trust file, the key is root's word.
 * @throws `L3_*`
 */
function refuseOlder(
  runtime: RuntimeStatement,
  keyId: string,
  trust: TrustFile,
  installed: boolean,
  remembered: SeenSignature | undefined,
): void {
  const last = Math.max(trust.sequence, remembered?.sequence ?? 0);
  if (runtime.sequence < last)
    throw signatureFault(
      'MANIFEST_ROLLBACK',
      `the manifest is number ${runtime.sequence}, but number ${last} was sealed already`,
    );
  if (remembered === undefined) return;
  const { key, root, sequence } = remembered;
  if (!installed && key !== '' && key !== keyId) {
    throw signatureFault(
      'SEAL_KEY',
      `the seal is by key ${keyId.slice(0, 16)}, but the one seen before was by key ${key.slice(0, 16)}: somebody else sealed it`,
      'find out who sealed it, with which key (seal/log.jsonl); if you did: ./kwyre deps seal --reason "..." with this state folder; if not, install again',
    );
  }
  if (root !== '' && sequence === runtime.sequence && root !== runtime.root)
    throw signatureFault('MANIFEST_ROLLBACK', `another manifest with number ${runtime.sequence} was seen before`);
}

/**
 * Verifies the signatures over a sealed installation; `remembered` is the last seal that was seen of it. @throws `L3_*`
 */
export function prepareSignedTree(
  order: TreeInput,
  seal: SignatureFiles,
  wallClock: Date,
  remembered?: SeenSignature,
): PreparedTree {
  const startedAt = order.now();
  const who = accessInput(order);
  const around = pathGrants(who);
  refuseOtherWriters(who, sortAccess(who, around));
  const trust = parseTrustFile(seal.trust);
  const key = parsePublicKey(trust.key, signatureFault);
  const keyId = keyIdOf(key);
  if (seal.tree === undefined || seal.runtime === undefined)
    throw signatureFault('MANIFEST_ABSENT', `the installation in ${order.root} is sealed, but its manifest is missing`);
  const trusted = { keys: [key], roots: [] };
  const runtimeBundle = parseBundle(seal.runtime, signatureFault);
  verifySignature(runtimeBundle, trusted, wallClock, signatureFault);
  const runtime = parseRuntimeStatement(runtimeBundle.payload);
  refuseOlder(runtime, keyId, trust, seal.installed, remembered);
  const treeBundle = parseBundle(seal.tree, signatureFault);
  verifySignature(treeBundle, trusted, wallClock, signatureFault);
  const statement = parseStatement(treeBundle.payload, { allowedIgnores: [] }, signatureFault);
  if (statement.root !== runtime.root || (runtime.sequence === trust.sequence && trust.root !== runtime.root))
    throw signatureFault('MANIFEST_MIXED', 'the two parts of the seal are not of the same time');
  const lockfile = createHash('sha512').update(order.lockfile).digest('hex');
  if (lockfile !== runtime.lockfile)
    throw signatureFault('LOCKFILE_DIFFERS', 'package-lock.json is not the sealed one');

  const files = new Map(statement.files.map((file) => [file.name, file.digest ?? '']));
  const inProcess = processFaults(order);
  return {
    files,
    root: order.root,
    signed: true,
    sound: inProcess.length === 0,
    compare(copies = new Map()) {
      const rights = { ...treeRights(order), refuseGroupWritable: seal.installed, refuseLinks: seal.installed };
      const compared = compareTree({
        disk: order.disk,
        root: order.root,
        files: statement.files,
        excluded: unsignedEntries(order),
        rights,
        shardBytes: undefined,
        threads: order.threads,
        copies,
      });
      const { differences, evidence } = compared;
      const mapped = mappingFaults(
        order.disk,
        order.running.maps,
        identitiesOf(order, [nodePath(order.running.platform)]),
        order.running.uid,
      );
      const all = [...inProcess, ...differences, ...mapped.faults];
      if (all.length > 0) throw new DifferenceError(3, `the sealed installation in ${order.root}`, all, remedy);
      const writers = sortAccess(who, [...around, ...foundGrants(order.root, compared.rights)]);
      refuseOtherWriters(who, writers);
      const access = judgeAccess(who, writers);

      const seconds = (order.now() - startedAt) / 1000;
      const enforced = seal.installed && access.rootOnly;
      const reason = access.rootOnly
        ? "detect-only: the trust file lies in the installation; sealed with --system it is root's, in /etc/kwyre"
        : access.reason;
      const at = order.now();
      const checks: Check[] = [
        {
          id: 'sealed-tree',
          status: enforced ? 'enforced' : 'degraded',
          evidence: `every file hashed: ${evidence.files} files, ${evidence.bytes} bytes in ${seconds.toFixed(2)} s; root sha256:${statement.root}, sealed ${runtime.sealedAt} as number ${runtime.sequence} by key ${keyId.slice(0, 16)}${enforced ? '' : `; ${reason}`}`,
          at,
        },
        ...runtimeChecks(order, 'sealed', mapped.evidence, at),
        ...libraryChecks(order, runtime.libraries, mapped.evidence.libraries, at),
        ...rightsChecks(evidence, at),
      ];
      return {
        files,
        root: order.root,
        signed: true,
        signature: { sequence: runtime.sequence, key: keyId, root: statement.root },
        access: enforced ? access : { rootOnly: false, reason },
        evidence: { ...evidence, digest: statement.root, seconds, libraries: mapped.evidence.libraries },
        checks,
      };
    },
  };
}

/** Verifies a sealed installation. @throws `L3_*` */
export function verifySignedTree(
  order: TreeInput,
  seal: SignatureFiles,
  wallClock: Date,
  remembered?: SeenSignature,
): VerifiedTree {
  return prepareSignedTree(order, seal, wallClock, remembered).compare();
}

/** Libraries of the system that are not as they were when it was sealed, or were not there. */
function libraryChecks(
  order: Pick<TreeInput, 'disk'>,
  sealed: readonly SystemLibrary[],
  mapped: readonly string[],
  at: number,
): Check[] {
  const known = new Map(sealed.map((library) => [library.path, library.sha256]));
  const words = mapped.flatMap((path) => {
    const before = known.get(path);
    if (before === undefined) return [`added: ${printable(path)}`];
    return digestLibrary(order, path) === before ? [] : [`changed: ${printable(path)}`];
  });
  return words.length === 0
    ? []
    : [
        {
          id: 'system-libraries',
          status: 'degraded',
          evidence: `since sealing, libraries of the system in this process were ${words.join(', ')}`,
          at,
        },
      ];
}
