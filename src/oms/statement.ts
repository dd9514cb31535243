/**
 * The signed statement: an in-toto statement that lists every file, or every shard of every file, with its digest.
 *
 * Promise: names are sorted, and unique even after case folding and normalization. Digests are SHA-256, shards cover
 *          their file without gaps, and the root digest is recomputed. `ignore_paths` may contain only paths that the
 *          caller allows, so a signer cannot exclude the weights.
 * Source:  OpenSSF Model Signing v1.0; https://in-toto.io/Statement/v1
 * Proof:   test/unit/oms/statement.test.ts, test/unit/oms/vectors.test.ts
 * @module
 */
import type { Fault } from './verification-error.ts';
import { printable } from './verification-error.ts';
import { compareNames, findTwins, nameFault } from './file-names.ts';
import type { Fields } from './json-shape.ts';
import { Shape } from './json-shape.ts';

const { createHash } = process.getBuiltinModule('node:crypto');

/** Type of an in-toto statement. */
export const statementType = 'https://in-toto.io/Statement/v1';
const predicateType = 'https://model_signing/signature/v1.0';

/** Paths at the top level of a tree that the specification excludes. */
export const defaultExclusions = ['.git', '.gitignore', '.gitattributes', '.github'] as const;

/** The specification's default shard size. */
export const defaultShardBytes = 1_000_000_000;
const maxResources = 1 << 20;

/** A part of a file, with its digest. */
export type Shard = { readonly start: number; readonly end: number; readonly digest: string };

/** A signed file: one digest, or one for each shard. */
export type SignedFile = {
  readonly name: string;
  /** `undefined` if the file is signed in shards. */
  readonly digest: string | undefined;
  readonly shards: readonly Shard[];
  /** Known if the file is signed in shards or if the signer recorded it. */
  readonly size: number | undefined;
  /** Whether the signer recorded the file as executable; `undefined` if the signer did not record this. */
  readonly executable: boolean | undefined;
  /** The package that contains the file, if recorded. */
  readonly package: string | undefined;
  /** The purpose of the file, if recorded. */
  readonly role: string | undefined;
};

/** How files are hashed: as a whole or in shards. */
export type Method = { readonly kind: 'files' } | { readonly kind: 'shards'; readonly shardBytes: number };

/** A well-formed statement with a correct root digest. */
export type Statement = {
  readonly name: string;
  readonly root: string;
  readonly method: Method;
  readonly ignorePaths: readonly string[];
  readonly files: readonly SignedFile[];
};

/** Rules that determine what the verifier accepts. */
type StatementRules = {
  /** Entries that `ignore_paths` may contain, besides the default exclusions. */
  readonly allowedIgnores: readonly string[];
};

const hexDigest = /^[0-9a-f]{64}$/;
const anyText = /^[\s\S]{1,4096}$/;

/** Returns the SHA-256 of the concatenated raw digests. */
export function rootDigest(digests: readonly string[]): string {
  const hash = createHash('sha256');
  for (const digest of digests) hash.update(Buffer.from(digest, 'hex'));
  return hash.digest('hex');
}

type Resource = { readonly name: string; readonly digest: string; readonly extra: Fields };

/** Parses the payload of a verified envelope. @throws `*_STATEMENT_SHAPE`, `*_STATEMENT_KIND`, `*_IGNORE_WIDENED` */
export function parseStatement(payload: Buffer, rules: StatementRules, fault: Fault): Statement {
  const shape = new Shape(fault, 'STATEMENT_SHAPE', 'the signed statement');
  const outer = shape.object(shape.json(payload, 64 << 20), 'statement', [
    '_type',
    'subject',
    'predicateType',
    'predicate',
  ]);
  shape.same(outer['_type'], '_type', statementType);
  if (outer['predicateType'] !== predicateType)
    throw fault('STATEMENT_KIND', 'the signature does not cover a list of files');
  const [only] = shape.list(outer['subject'], 'subject', 1, 1);
  const subject = shape.object(only, 'subject', ['name', 'digest']);
  const digest = shape.object(subject['digest'], 'subject.digest', ['sha256']);
  const predicate = shape.object(outer['predicate'], 'predicate', ['resources', 'serialization']);
  const { method, ignorePaths } = parseSerialization(predicate['serialization'], rules, shape, fault);

  const resources = shape.list(predicate['resources'], 'resources', 1, maxResources).map((entry, index): Resource => {
    const at = `resources[${index}]`;
    const extra = shape.object(entry, at, ['name', 'digest', 'algorithm'], [], true);
    shape.same(extra['algorithm'], `${at}.algorithm`, 'sha256');
    return {
      name: shape.text(extra['name'], `${at}.name`, anyText),
      digest: shape.text(extra['digest'], `${at}.digest`, hexDigest),
      extra,
    };
  });
  for (let index = 1; index < resources.length; index += 1) {
    if (compareNames(resources[index - 1]?.name ?? '', resources[index]?.name ?? '') >= 0)
      shardOrder(resources, index, method, shape);
  }
  const root = rootDigest(resources.map((entry) => entry.digest));
  if (root !== shape.text(digest['sha256'], 'subject.digest', hexDigest))
    shape.refuse('subject.digest', 'is not the digest of the listed files');
  const files =
    method.kind === 'files'
      ? resources.map((entry) => wholeFile(entry, shape))
      : shardedFiles(resources, method.shardBytes, shape);
  const [twins] = findTwins(files.map((file) => file.name));
  if (twins !== undefined)
    throw fault(
      'NAME_TWINS',
      `two names differ only in letter case or Unicode form: ${printable(twins[0])} and ${printable(twins[1])}`,
    );
  return { name: shape.text(subject['name'], 'subject.name', anyText), root, method, ignorePaths, files };
}

/** Shards may also be sorted by offset, as the reference implementation does for files of ten or more shards. */
function shardOrder(resources: readonly Resource[], index: number, method: Method, shape: Shape): void {
  const [before, after] = [resources[index - 1], resources[index]].map((entry) =>
    /^([\s\S]*):(\d+):\d+$/.exec(entry?.name ?? ''),
  );
  const ordered =
    method.kind === 'shards' &&
    before?.[1] !== undefined &&
    before[1] === after?.[1] &&
    Number(before[2]) < Number(after[2]);
  if (!ordered) shape.refuse(`resources[${index}]`, 'is not in order, or appears twice');
}

function parseSerialization(
  value: unknown,
  rules: StatementRules,
  shape: Shape,
  fault: Fault,
): { method: Method; ignorePaths: readonly string[] } {
  const fields = shape.object(
    value,
    'serialization',
    ['method', 'hash_type', 'allow_symlinks'],
    ['shard_size', 'ignore_paths'],
  );
  shape.same(fields['hash_type'], 'hash_type', 'sha256');
  shape.same(fields['allow_symlinks'], 'allow_symlinks', false);
  const ignorePaths = (
    fields['ignore_paths'] === undefined ? [] : shape.list(fields['ignore_paths'], 'ignore_paths', 0, 256)
  ).map((entry) => shape.text(entry, 'ignore_paths', anyText));
  const allowed: readonly string[] = [...defaultExclusions, ...rules.allowedIgnores];
  const widened = ignorePaths.find((path) => !allowed.includes(path));
  if (widened !== undefined)
    throw fault('IGNORE_WIDENED', `the signature excludes ${printable(widened)}, which would never be checked`);
  const method = shape.text(fields['method'], 'method', /^(files|shards)$/);
  if (method === 'files') {
    if (fields['shard_size'] !== undefined) shape.refuse('shard_size', 'is allowed for the method shards only');
    return { method: { kind: 'files' }, ignorePaths };
  }
  return { method: { kind: 'shards', shardBytes: shape.integer(fields['shard_size'], 'shard_size', 1) }, ignorePaths };
}

function checkedName(name: string, shape: Shape): string {
  const problem = nameFault(name);
  return problem === undefined ? name : shape.refuse('a name', `is not acceptable (${problem})`);
}

function extras(extra: Fields, shape: Shape): Pick<SignedFile, 'executable' | 'package' | 'role' | 'size'> {
  const executable = extra['executable'];
  return {
    size: extra['size'] === undefined ? undefined : shape.integer(extra['size'], 'size', 0),
    executable: typeof executable === 'boolean' ? executable : undefined,
    package: extra['package'] === undefined ? undefined : shape.text(extra['package'], 'package', anyText),
    role: extra['role'] === undefined ? undefined : shape.text(extra['role'], 'role', /^[a-z-]{1,32}$/),
  };
}

function wholeFile(entry: Resource, shape: Shape): SignedFile {
  return { name: checkedName(entry.name, shape), digest: entry.digest, shards: [], ...extras(entry.extra, shape) };
}

function shardedFiles(resources: readonly Resource[], shardBytes: number, shape: Shape): SignedFile[] {
  const files = new Map<string, { shards: Shard[]; extra: Fields }>();
  for (const { name, digest, extra } of resources) {
    const match = /^([\s\S]*):(0|[1-9]\d{0,15}):(0|[1-9]\d{0,15})$/.exec(name);
    if (match === null) return shape.refuse('a shard', 'does not have the form path:start:end');
    const file = checkedName(match[1] ?? '', shape);
    const list = files.get(file) ?? { shards: [], extra };
    files.set(file, list);
    list.shards.push({ start: Number(match[2]), end: Number(match[3]), digest });
  }
  return [...files].map(([name, { shards, extra }]) => {
    shards.sort((a, b) => a.start - b.start);
    const size = shards.at(-1)?.end ?? 0;
    let at = 0;
    for (const shard of shards) {
      const full = Math.min(at + shardBytes, size);
      // An empty file has one shard 0:0; without it, an added or removed empty file would go unnoticed.
      if (shard.start !== at || shard.end !== full || (full === at && size !== 0))
        shape.refuse('a shard', 'leaves a gap or overlaps another');
      at = full;
    }
    if (size === 0 && shards.length !== 1) shape.refuse('a shard', 'appears twice');
    const known = extras(extra, shape);
    if (known.size !== undefined && known.size !== size) shape.refuse('a shard', 'contradicts the size of its file');
    return { name, digest: undefined, shards, ...known, size };
  });
}

/** A file to sign. */
export type FileToSign = {
  readonly name: string;
  readonly size: number;
  readonly digest?: string;
  readonly shards?: readonly Shard[];
  readonly executable?: boolean;
  readonly package?: string;
  readonly role?: string;
};

/** Returns the statement that lists hashed files. Size, package and role go into fields that other verifiers ignore. */
export function formatStatement(
  name: string,
  files: readonly FileToSign[],
  method: Method,
  ignorePaths: readonly string[],
): Buffer {
  const resources = files
    .flatMap((file) => {
      const more = {
        size: file.size,
        ...(file.executable === undefined ? {} : { executable: file.executable }),
        ...(file.package === undefined ? {} : { package: file.package }),
        ...(file.role === undefined ? {} : { role: file.role }),
      };
      if (method.kind === 'files')
        return [{ name: file.name, digest: file.digest ?? '', algorithm: 'sha256', ...more }];
      return (file.shards ?? []).map((shard) => ({
        name: `${file.name}:${shard.start}:${shard.end}`,
        digest: shard.digest,
        algorithm: 'sha256',
        ...more,
      }));
    })
    .sort((a, b) => compareNames(a.name, b.name));
  return Buffer.from(
    JSON.stringify({
      _type: statementType,
      subject: [{ name, digest: { sha256: rootDigest(resources.map((entry) => entry.digest)) } }],
      predicateType,
      predicate: {
        serialization: {
          method: method.kind,
          hash_type: 'sha256',
          allow_symlinks: false,
          ...(method.kind === 'shards' ? { shard_size: method.shardBytes } : {}),
          ignore_paths: [...ignorePaths],
        },
        resources,
      },
    }),
    'utf8',
  );
}
