/**
 * Writes the committed digests of the third-party tree: `npm run lock:digests`, after each change to package-lock.json.
 *
 * Fetches every tarball that npm may install here (through npm itself), compares its sha512 with the lockfile's, and
 * lists its files. `--check` writes nothing: it compares the committed list with the lockfile and with the tarballs,
 * which come from npm's cache or are fetched. A tarball that is not in the cache and cannot be fetched is reported as
 * not checked.
 * @module
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { PackageDigests } from '../layers/3-dependencies/published-digests.ts';
import { digestsFile, formatDigests, parseDigests } from '../layers/3-dependencies/published-digests.ts';
import { compareNames } from '../oms/file-names.ts';
import type { TarFile } from './tarball.ts';
import { readTarball } from './tarball.ts';

const { createHash, hash } = process.getBuiltinModule('node:crypto');

const root = join(import.meta.dirname, '..', '..');
const folder = join(root, 'src', 'layers', '3-dependencies');
/** Platforms that Kwyre supports. */
const platforms = [
  { name: 'linux-x64', os: 'linux', cpu: 'x64' },
  { name: 'linux-arm64', os: 'linux', cpu: 'arm64' },
];

type Locked = {
  readonly version?: string;
  readonly integrity?: string;
  readonly os?: string | string[];
  readonly cpu?: string | string[];
  readonly libc?: string | string[];
  readonly dev?: boolean;
  readonly link?: boolean;
};

function admits(list: string | string[] | undefined, value: string): boolean {
  const values = typeof list === 'string' ? [list] : (list ?? []);
  if (values.includes(`!${value}`)) return false;
  const wanted = values.filter((entry) => !entry.startsWith('!'));
  return wanted.length === 0 || wanted.includes(value);
}

function installedOn(entry: Locked, platform: (typeof platforms)[number]): boolean {
  return admits(entry.os, platform.os) && admits(entry.cpu, platform.cpu) && admits(entry.libc, 'glibc');
}

const checking = process.argv.includes('--check');

/** A tarball that is not in npm's cache and cannot be fetched. */
class Unreachable extends Error {}

/** Fetches a package's tarball through npm (from its cache first) into a temporary folder. @throws Unreachable */
function fetchTarball(id: string): Buffer {
  const scratch = mkdtempSync(join(tmpdir(), 'kwyre-pack-'));
  try {
    copyFileSync(join(root, '.npmrc'), join(scratch, '.npmrc'));
    const { status, stderr } = spawnSync(
      'npm',
      ['pack', '--loglevel=error', '--prefer-offline', '--fetch-retries=0', id],
      { cwd: scratch, encoding: 'utf8' },
    );
    const file = readdirSync(scratch).find((name) => name.endsWith('.tgz'));
    if (
      status !== 0 &&
      /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|ETIMEDOUT|ENOTCACHED)\b/.test(stderr)
    )
      throw new Unreachable(id);
    if (status !== 0 || file === undefined) throw new Error(`npm pack ${id} failed: ${stderr}`);
    return readFileSync(join(scratch, file));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Returns the command files of a package, which npm makes executable regardless of the tarball. */
function commandsOf(files: readonly TarFile[]): Set<string> {
  const manifest = JSON.parse(files.find((file) => file.name === 'package.json')?.bytes.toString('utf8') ?? '{}') as {
    bin?: string | Record<string, string>;
  };
  const values = typeof manifest.bin === 'string' ? [manifest.bin] : Object.values(manifest.bin ?? {});
  return new Set(values.map((value) => value.replace(/^\.\//, '')));
}

function digestPackage(path: string, entry: Locked): PackageDigests {
  const id = `${path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)}@${entry.version ?? ''}`;
  const tarball = fetchTarball(id);
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
  if (integrity !== entry.integrity) throw new Error(`the tarball of ${id} is not the one in package-lock.json`);
  const files = readTarball(tarball);
  const commands = commandsOf(files);
  // npm renames .gitignore to .npmignore when it installs a package, so that a copy of the package can be published.
  const renamed = (name: string) =>
    name.endsWith('.gitignore') && !files.some((file) => file.name === name.replace(/gitignore$/, 'npmignore'))
      ? name.replace(/gitignore$/, 'npmignore')
      : name;
  const listed = new Map(files.map((file) => [renamed(file.name), file]));
  return {
    path,
    id,
    integrity,
    files: [...listed]
      .sort(([a], [b]) => compareNames(a, b))
      .map(([name, file]) => ({
        name: `${path}/${name}`,
        digest: hash('sha256', file.bytes, 'hex'),
        shards: [],
        size: file.bytes.length,
        executable: file.executable || commands.has(name),
        package: id,
        role: undefined,
      })),
  };
}

const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Record<string, Locked> };
const digested = new Map<string, PackageDigests>();
const unreachable = new Map<string, Locked>();
for (const [path, entry] of Object.entries(lock.packages)) {
  if (path === '') continue;
  if (entry.integrity?.startsWith('sha512-') !== true) throw new Error(`${path} has no sha512 in package-lock.json`);
  if (entry.link === true || entry.dev === true)
    throw new Error(`${path} is a link or a development package, which must not be installed at run time`);
  if (!platforms.some((platform) => installedOn(entry, platform))) continue;
  try {
    digested.set(path, digestPackage(path, entry));
    console.error(`${path}: ${digested.get(path)?.files.length ?? 0} files`);
  } catch (error) {
    if (!checking || !(error instanceof Unreachable)) throw error;
    unreachable.set(path, entry);
    console.error(`${path}: NOT CHECKED, its tarball is not in npm's cache and the registry cannot be reached`);
  }
}
if (digested.size === 0)
  throw new Error("nothing was checked: no tarball is in npm's cache, and the registry cannot be reached");
for (const platform of platforms) {
  const target = join(folder, digestsFile(platform.name));
  const committed = checking ? readFileSync(target, 'utf8') : '';
  // Packages that could not be fetched are compared only by name and by the lockfile's sha512.
  const unchecked = checking
    ? parseDigests(committed).filter((entry) => unreachable.get(entry.path)?.integrity === entry.integrity)
    : [];
  const packages = [
    ...[...digested].filter(([path]) => installedOn(lock.packages[path] ?? {}, platform)).map(([, entry]) => entry),
    ...unchecked,
  ];
  const text = formatDigests(packages);
  if (!checking) {
    writeFileSync(target, text);
    console.log(
      `${digestsFile(platform.name)}: ${packages.length} packages, ` +
        `${packages.reduce((sum, entry) => sum + entry.files.length, 0)} files`,
    );
  } else if (committed === text) {
    console.log(
      `${digestsFile(platform.name)}: up to date, ${packages.length - unchecked.length} of ` +
        `${packages.length} packages compared with their tarballs`,
    );
  } else {
    console.error(`${digestsFile(platform.name)} does not match package-lock.json; run npm run lock:digests`);
    process.exitCode = 1;
  }
}
