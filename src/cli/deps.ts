/**
 * `kwyre deps`: shows what an installation holds, seals it under the operator's signature, and verifies it.
 *
 * Sealing starts from the comparison with the published packages: what came from no tarball is not sealed.
 * @module
 */
import { createHash, createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../installation/paths.ts';
import { KwyreError } from '../base/errors.ts';
import { parseDigests } from '../layers/3-dependencies/published-digests.ts';
import type { PackageDigests } from '../layers/3-dependencies/published-digests.ts';
import { describeInstallation, verifyInstallation } from '../layers/3-dependencies/installation.ts';
import { executableMappings } from '../layers/3-dependencies/runtime-check.ts';
import {
  digestLibrary,
  formatTrustFile,
  unsignedEntries,
  parseRuntimeStatement,
  parseTrustFile,
  signatureFault,
  signRuntimeStatement,
} from '../layers/3-dependencies/signed-tree.ts';
import type { RuntimeStatement } from '../layers/3-dependencies/signed-tree.ts';
import { treeRights, verifyTree } from '../layers/3-dependencies/tree-verifier.ts';
import type { TreeInput } from '../layers/3-dependencies/tree-verifier.ts';
import { strippedFaults } from '../layers/3-dependencies/stripped-sources.ts';
import { parseBundle } from '../oms/bundle.ts';
import type { Difference } from '../oms/verification-error.ts';
import { DifferenceError } from '../oms/verification-error.ts';
import { makeSigningKey, publicPem, readPrivatePem, unwrapKey, wrapKey } from '../oms/operator-key.ts';
import type { SigningOrder } from '../oms/signer.ts';
import { hashFiles, signFiles } from '../oms/signer.ts';
import { keyIdOf, parsePublicKey } from '../oms/signature.ts';
import type { FileToSign, SignedFile } from '../oms/statement.ts';
import { parseStatement } from '../oms/statement.ts';
import { openState } from '../state/state-directory.ts';
import { readOperatorKey, writeOperatorKey } from '../state/model-records.ts';
import { readSignatures, rememberedSignature, rememberSignature, writeSignatures } from '../state/tree-signatures.ts';
import type { StoredSignatures } from '../state/tree-signatures.ts';
import { stateDirectory } from './client.ts';
import { askNewPassphrase, askPassphrase, confirm } from './prompt.ts';

const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      strict: true,
      allowPositionals: true,
      options: {
        json: flag,
        yes: flag,
        system: flag,
        state: text,
        reason: text,
        key: text,
        format: text,
        'passphrase-file': text,
      },
    });
  } catch {
    throw usage();
  }
}

type Flags = ReturnType<typeof parseFlags>['values'];

function usage(): KwyreError {
  return new KwyreError(
    'USAGE_DEPS',
    'deps takes plan [--format sha256sum|cyclonedx], seal --reason "..." or verify',
    './kwyre help deps',
  );
}

/** Runs `kwyre deps ...`. */
export async function deps(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseFlags(args);
  const [action, ...rest] = positionals;
  if (rest.length > 0) throw usage();
  const order = { ...describeInstallation(fs, process, root), threads: 2 };
  switch (action) {
    case 'plan':
      return plan(order, values);
    case 'seal':
      return await seal(order, values);
    case 'verify':
      return verify(order, values);
    default:
      throw usage();
  }
}

function verify(order: TreeInput, values: Flags): number {
  try {
    const verified = verifyInstallation(
      order,
      readSignatures(root),
      new Date(),
      rememberedSignature(stateDirectory(values.state), root),
    );
    if (values.json === true) console.log(JSON.stringify({ ok: true, sealed: verified.signed, ...verified.evidence }));
    else for (const check of verified.checks) console.log(`${check.status.padEnd(9)} ${check.id}: ${check.evidence}`);
    return 0;
  } catch (error) {
    if (!(error instanceof KwyreError) || values.json !== true) throw error;
    console.log(
      JSON.stringify({
        ok: false,
        code: error.code,
        message: error.message,
        remedy: error.remedy,
        differences: error instanceof DifferenceError ? error.differences : [],
      }),
    );
    return error.exitCode;
  }
}

/**
 * Everything that a seal would cover, hashed now, with the rights that a seal of root's or of the user's will ask for.
 */
function hashInstallation(
  order: TreeInput,
  packages: readonly PackageDigests[],
  installed: boolean,
): { files: FileToSign[]; signing: SigningOrder } {
  const owner = new Map(packages.flatMap((entry) => entry.files.map((file) => [file.name, entry.id] as const)));
  const signing: SigningOrder = {
    disk: fs,
    layer: 3,
    root,
    only: undefined,
    excluded: unsignedEntries(order),
    rights: { ...treeRights(order), refuseGroupWritable: installed, refuseLinks: installed },
    name: 'kwyre',
    method: { kind: 'files' },
  };
  const files = hashFiles(signing, signatureFault).map((file) => {
    const from = owner.get(file.name);
    return from === undefined ? file : { ...file, package: from };
  });
  return { files, signing };
}

/** How the packages differ from what was published; nothing when they do not. */
function publishedDifferences(order: TreeInput): readonly Difference[] {
  try {
    verifyTree(order);
    return [];
  } catch (error) {
    if (error instanceof DifferenceError) return error.differences;
    throw error;
  }
}

type Before = { readonly runtime: RuntimeStatement; readonly files: readonly SignedFile[] };

/** A damaged seal says nothing; sealing again is the way out, so it must not stop there. */
function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof KwyreError) return undefined;
    throw error;
  }
}

/** What was sealed before, without judging it: the plan only shows the way from there. */
function sealedBefore(stored: StoredSignatures | undefined): Before | undefined {
  const { tree, runtime } = stored ?? {};
  if (tree === undefined || runtime === undefined) return undefined;
  return readable(() => ({
    runtime: parseRuntimeStatement(parseBundle(runtime, signatureFault).payload),
    files: parseStatement(parseBundle(tree, signatureFault).payload, { allowedIgnores: [] }, signatureFault).files,
  }));
}

function changesSince(before: Before | undefined, files: readonly FileToSign[]): string[] {
  if (before === undefined) return [];
  const old = new Map(before.files.map((file) => [file.name, file.digest]));
  const lines: string[] = [];
  for (const file of files) {
    if (!old.has(file.name)) lines.push(`added   ${file.name}`);
    else if (old.get(file.name) !== file.digest) lines.push(`changed ${file.name}`);
    old.delete(file.name);
  }
  return [...lines, ...[...old.keys()].map((name) => `removed ${name}`)].sort();
}

const native = /\.(node|so|dylib|dll)(\.[\d.]+)?$|\/bin\/node$/;

function plan(order: TreeInput, values: Flags): number {
  const packages = parseDigests(order.digests);
  const { files } = hashInstallation(order, packages, false);
  if (values.format === 'sha256sum') {
    console.log(files.map((file) => `${file.digest ?? ''}  ${file.name}`).join('\n'));
    return 0;
  }
  if (values.format === 'cyclonedx') {
    console.log(JSON.stringify(cyclonedx(packages), null, 2));
    return 0;
  }
  if (values.format !== undefined) throw usage();
  const differences = publishedDifferences(order);
  const changes = changesSince(sealedBefore(readSignatures(root)), files);
  const summary = packages.map((entry) => ({
    package: entry.id,
    files: entry.files.length,
    native: entry.files.filter((file) => native.test(file.name)).map((file) => file.name.slice(entry.path.length + 1)),
    executable: entry.files.filter((file) => file.executable === true).length,
  }));
  const own = files.filter((file) => file.package === undefined && file.name !== 'node_modules/.package-lock.json');
  if (values.json === true) {
    console.log(JSON.stringify({ packages: summary, own: own.length, differences, changes }));
    return differences.length === 0 ? 0 : 13;
  }
  console.log('packages, each as published (its tarball is the one whose sha512 package-lock.json names):');
  for (const entry of summary)
    console.log(
      `  ${entry.package.padEnd(40)} ${String(entry.files).padStart(5)} files, ${entry.native.length} with machine code, ${entry.executable} executable`,
    );
  console.log(`own files: ${own.length} (program, stripped copy, page, lockfile)`);
  const before = sealedBefore(readSignatures(root));
  if (before === undefined) console.log('this installation is not sealed yet');
  else
    console.log(
      changes.length === 0
        ? 'nothing changed since the last seal'
        : `since the last seal:\n  ${changes.slice(0, 40).join('\n  ')}${changes.length > 40 ? `\n  and ${changes.length - 40} more` : ''}`,
    );
  if (differences.length === 0) {
    if (before === undefined || changes.length > 0)
      console.log(
        'all packages are as published; to put everything above under your signature: ./kwyre deps seal --reason "why"',
      );
    return 0;
  }
  console.log(
    `from no published package, or unlike it:\n${differences
      .slice(0, 40)
      .map((entry) => `  ${entry.kind.padEnd(8)} ${entry.name}`)
      .join('\n')}`,
  );
  return 13;
}

function cyclonedx(packages: readonly PackageDigests[]): unknown {
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    components: packages.map((entry) => {
      const at = entry.id.lastIndexOf('@');
      const [name, version] = [entry.id.slice(0, at), entry.id.slice(at + 1)];
      return {
        type: 'library',
        name,
        version,
        purl: `pkg:npm/${name.replace('@', '%40')}@${version}`,
        hashes: [
          { alg: 'SHA-512', content: Buffer.from(entry.integrity.slice('sha512-'.length), 'base64').toString('hex') },
        ],
      };
    }),
  };
}

/** @throws `USAGE_FILE` */
function readKeyFile(path: string): string {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch (error) {
    throw new KwyreError(
      'USAGE_FILE',
      `cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
      'give the path of a PEM file',
    );
  }
}

/** The operator's key: from a file, unwrapped, or made now. */
async function operatorKey(values: Flags): Promise<KeyObject> {
  const file = values['passphrase-file'];
  if (values.key !== undefined)
    return readPrivatePem(
      readKeyFile(values.key),
      file === undefined ? undefined : await askPassphrase(file),
      signatureFault,
    );
  const state = openState(stateDirectory(values.state));
  const wrapped = readOperatorKey(state);
  if (wrapped !== undefined) return unwrapKey(wrapped, await askPassphrase(file), signatureFault);
  console.error('there is no operator key yet: one is made now and kept under a passphrase');
  const { privateKey } = makeSigningKey();
  writeOperatorKey(state, wrapKey(privateKey, await askNewPassphrase(file)));
  return privateKey;
}

/**
 * Says so when the seal that is about to be replaced is by another key than the one that this state folder saw last.
 */
function warnOfStranger(stored: StoredSignatures | undefined, remembered: { readonly key: string } | undefined): void {
  const by =
    stored === undefined
      ? undefined
      : readable(() => keyIdOf(parsePublicKey(parseTrustFile(stored.trust).key, signatureFault)));
  if (by === undefined || remembered === undefined || remembered.key === '' || remembered.key === by) return;
  console.error(
    `the present seal is by key ${by.slice(0, 16)}, not by ${remembered.key.slice(0, 16)}, which this state folder saw last: look at what it sealed before you go on`,
  );
}

async function seal(order: TreeInput, values: Flags): Promise<number> {
  const reason = (values.reason ?? '').replace(/[\p{C}]/gu, ' ').trim();
  if (reason === '')
    throw new KwyreError(
      'USAGE_DEPS_REASON',
      'sealing needs a reason, which is kept in its log',
      './kwyre deps seal --reason "first installation"',
    );
  if (values.system === true && process.getuid?.() !== 0)
    throw new KwyreError(
      'USAGE_DEPS_ROOT',
      'only root can keep the trust file in /etc/kwyre',
      'leave out --system, or run it as root',
    );
  const differences = publishedDifferences(order);
  if (differences.length > 0)
    throw new DifferenceError(
      3,
      `what is installed in ${root}`,
      differences,
      'only what was published can be sealed: npm ci --omit=dev --ignore-scripts --no-bin-links',
    );
  const unlike = strippedFaults(fs, root);
  if (unlike.length > 0)
    throw new DifferenceError(
      3,
      `the program in ${join(root, 'dist')}, which is made of src/,`,
      unlike,
      `remove it and look again, it is made anew: rm -r ${join(root, 'dist')}; ./kwyre deps plan`,
    );
  const stored = readSignatures(root);
  const installed = values.system === true || stored?.installed === true;
  const { files, signing } = hashInstallation(order, parseDigests(order.digests), installed);
  const before = sealedBefore(stored);
  const changes = changesSince(before, files);
  const state = stateDirectory(values.state);
  const remembered = rememberedSignature(state, root);
  warnOfStranger(stored, remembered);
  console.error(
    `${files.length} files${before === undefined ? '' : `; since the last seal ${changes.length} changes${changes.length === 0 ? '' : `: ${changes.slice(0, 8).join(', ')}`}`}`,
  );
  if (values.yes !== true && !(process.stdin.isTTY && (await confirm('Seal exactly these files?'))))
    throw new KwyreError('USAGE_DEPS_CONFIRM', 'sealing needs a yes', 'look at ./kwyre deps plan, then add --yes');
  const key = await operatorKey(values);
  const tree = signFiles(signing, files, key, signatureFault);
  const statement = parseStatement(
    parseBundle(Buffer.from(tree), signatureFault).payload,
    { allowedIgnores: [] },
    signatureFault,
  );
  const sequence =
    Math.max(
      stored === undefined ? 0 : (readable(() => parseTrustFile(stored.trust).sequence) ?? 0),
      before?.runtime.sequence ?? 0,
      remembered?.sequence ?? 0,
    ) + 1;
  const libraries = executableMappings(order.running.maps)
    .map(({ path }) => ({ path, sha256: digestLibrary(order, path) }))
    .filter((library) => library.sha256 !== '' && !library.path.startsWith(root));
  const runtime: RuntimeStatement = {
    sequence,
    sealedAt: new Date().toISOString(),
    reason,
    root: statement.root,
    previous: before?.runtime.root ?? null,
    lockfile: createHash('sha512').update(order.lockfile).digest('hex'),
    libraries,
  };
  const trust = formatTrustFile({ key: publicPem(key), sequence, root: statement.root }, root);
  const keyId = keyIdOf(createPublicKey(key));
  writeSignatures(root, {
    tree,
    runtime: signRuntimeStatement(runtime, key),
    trust,
    line: JSON.stringify({
      at: runtime.sealedAt,
      sequence,
      reason,
      root: statement.root,
      previous: runtime.previous,
      key: keyId,
      uid: process.getuid?.() ?? null,
    }),
    installed,
  });
  rememberSignature(state, root, { sequence, key: keyId, root: statement.root });
  if (values.json === true)
    console.log(JSON.stringify({ sequence, root: statement.root, files: files.length, key: keyId, installed }));
  else
    console.log(
      `sealed as number ${sequence}: ${files.length} files, root sha256:${statement.root}, by key ${keyId.slice(0, 16)}; the trust file is in ${installed ? '/etc/kwyre' : 'seal/'}`,
    );
  return 0;
}
