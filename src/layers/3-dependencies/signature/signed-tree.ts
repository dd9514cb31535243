/**
 * Verifies a signed installation: a signed list of every file that runs, and a signed runtime statement.
 *
 * Promise: one signature covers Kwyre's own code, the page, packages, native libraries and Node. If it is missing,
 *          damaged, rolled back or made with a different key than the last signature, Kwyre refuses to start (exit 13).
 * Trust:   the trust file (public key, last sequence number, root digest); for an installed server, root keeps it in
 *          `/etc/kwyre`.
 * Limits:  changed system libraries are reported, not refused.
 * Proof:   test/unit/layers/3-signed-tree.test.ts, test/attacks/3-seal.test.ts
 * @module
 */
import type { Check } from '../../../base/verdict.ts';
import { parseBundle } from '../../../oms/bundle.ts';
import { compareTree } from '../../../oms/manifest-verifier.ts';
import { keyIdOf, parsePublicKey, verifySignature } from '../../../oms/signature.ts';
import { parseStatement } from '../../../oms/statement.ts';
import { DifferenceError } from '../../../oms/verification-error.ts';
import { mappingFaults } from '../runtime-check.ts';
import type { RuntimeStatement } from './runtime-statement.ts';
import { parseRuntimeStatement } from './runtime-statement.ts';
import { libraryChecks } from './system-libraries.ts';
import { foundGrants, judgeAccess, pathGrants, refuseOtherWriters, signedEntries, sortAccess } from '../tree-access.ts';
import { rightsChecks, runtimeChecks } from '../tree-checks.ts';
import { accessInput, identitiesOf, nodePath, processFaults, treeRights } from '../tree-verifier.ts';
import type { TrustFile } from './trust-file.ts';
import { parseTrustFile, signatureFault, signatureRemedy } from './trust-file.ts';
import type { PreparedTree, SeenSignature, TreeInput } from '../types.ts';

const { createHash } = process.getBuiltinModule('node:crypto');

/** The stored signature: the trust file, and the two manifests if they exist. */
export type SignatureFiles = {
  readonly trust: string;
  readonly tree: Buffer | undefined;
  readonly runtime: Buffer | undefined;
  /** Whether the trust file belongs to root, in `/etc/kwyre`. */
  readonly installed: boolean;
};

/** Returns the entries at the root that the signature does not cover. */
export function unsignedEntries({ disk, root }: Pick<TreeInput, 'disk' | 'root'>): Set<string> {
  const signed: readonly string[] = signedEntries;
  return new Set(disk.readdirSync(root).filter((name) => !signed.includes(name)));
}

/**
 * Refuses a signature that is older than the last one seen or was made with a different key. In an installation, root's
 * trust file determines the key.
 * @throws `L3_MANIFEST_ROLLBACK`, `L3_SEAL_KEY`
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
      `the signature was rolled back: it is number ${runtime.sequence}, and number ${last} was seen before`,
    );
  if (remembered === undefined) return;
  const { key, root, sequence } = remembered;
  if (!installed && key !== '' && key !== keyId) {
    throw signatureFault(
      'SEAL_KEY',
      `the signature is by key ${keyId.slice(0, 16)}, but the last one was by key ${key.slice(0, 16)}`,
      'find out who signed it (seal/log.jsonl); if you did, sign it again with this state folder: ' +
        './kwyre deps seal --reason "..."; if not, install again',
    );
  }
  if (root !== '' && sequence === runtime.sequence && root !== runtime.root)
    throw signatureFault('MANIFEST_ROLLBACK', `a different signature with number ${runtime.sequence} was seen before`);
}

/**
 * Verifies the signatures. The result's `compare` compares the files.
 * @param remembered - the last signature recorded in the state folder
 * @throws `L3_*`
 */
export function prepareSignedTree(
  input: TreeInput,
  stored: SignatureFiles,
  wallClock: Date,
  remembered?: SeenSignature,
): PreparedTree {
  const startedAt = input.now();
  const who = accessInput(input);
  const around = pathGrants(who);
  refuseOtherWriters(who, sortAccess(who, around));
  const trust = parseTrustFile(stored.trust);
  const key = parsePublicKey(trust.key, signatureFault);
  const keyId = keyIdOf(key);
  if (stored.tree === undefined || stored.runtime === undefined)
    throw signatureFault('MANIFEST_ABSENT', `the installation in ${input.root} is signed, but its manifest is missing`);
  const trusted = { keys: [key], roots: [] };
  const runtimeBundle = parseBundle(stored.runtime, signatureFault);
  verifySignature(runtimeBundle, trusted, wallClock, signatureFault);
  const runtime = parseRuntimeStatement(runtimeBundle.payload);
  refuseOlder(runtime, keyId, trust, stored.installed, remembered);
  const treeBundle = parseBundle(stored.tree, signatureFault);
  verifySignature(treeBundle, trusted, wallClock, signatureFault);
  const statement = parseStatement(treeBundle.payload, { allowedIgnores: [] }, signatureFault);
  if (statement.root !== runtime.root || (runtime.sequence === trust.sequence && trust.root !== runtime.root))
    throw signatureFault('MANIFEST_MIXED', 'the two parts of the signature do not belong together');
  const lockfile = createHash('sha512').update(input.lockfile).digest('hex');
  if (lockfile !== runtime.lockfile)
    throw signatureFault('LOCKFILE_DIFFERS', 'package-lock.json differs from the signed one');

  const files = new Map(statement.files.map((file) => [file.name, file.digest ?? '']));
  const inProcess = processFaults(input);
  return {
    files,
    root: input.root,
    signed: true,
    sound: inProcess.length === 0,
    compare(copies = new Map()) {
      const rights = { ...treeRights(input), refuseGroupWritable: stored.installed, refuseLinks: stored.installed };
      const compared = compareTree({
        disk: input.disk,
        root: input.root,
        files: statement.files,
        excluded: unsignedEntries(input),
        rights,
        shardBytes: undefined,
        threads: input.threads,
        copies,
      });
      const { differences, evidence } = compared;
      const mapped = mappingFaults(
        input.disk,
        input.running.maps,
        identitiesOf(input, [nodePath(input.running.platform)]),
        input.running.uid,
      );
      const all = [...inProcess, ...differences, ...mapped.faults];
      if (all.length > 0)
        throw new DifferenceError(3, `the signed installation in ${input.root}`, all, signatureRemedy);
      const writers = sortAccess(who, [...around, ...foundGrants(input.root, compared.rights)]);
      refuseOtherWriters(who, writers);
      const access = judgeAccess(who, writers);

      const seconds = (input.now() - startedAt) / 1000;
      const enforced = stored.installed && access.rootOnly;
      const reason = access.rootOnly
        ? 'detect-only: the trust file is in the installation; ./kwyre deps seal --system puts it in /etc/kwyre'
        : access.reason;
      const at = input.now();
      const checks: Check[] = [
        {
          id: 'sealed-tree',
          status: enforced ? 'enforced' : 'degraded',
          evidence: [
            `${evidence.files} files, ${evidence.bytes} bytes hashed in ${seconds.toFixed(2)} s`,
            `root sha256:${statement.root}`,
            `signed ${runtime.sealedAt} as number ${runtime.sequence} by key ${keyId.slice(0, 16)}`,
            ...(enforced ? [] : [reason]),
          ].join('; '),
          at,
        },
        ...runtimeChecks(input, 'signed', mapped.evidence, at),
        ...libraryChecks(input, runtime.libraries, mapped.evidence.libraries, at),
        ...rightsChecks(evidence, at),
      ];
      return {
        files,
        root: input.root,
        signed: true,
        signature: { sequence: runtime.sequence, key: keyId, root: statement.root },
        access: enforced ? access : { rootOnly: false, reason },
        evidence: { ...evidence, digest: statement.root, seconds, libraries: mapped.evidence.libraries },
        checks,
      };
    },
  };
}
