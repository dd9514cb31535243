/**
 * The published digests: every file of every package, in a committed text file per platform.
 *
 * A line `package PATH NAME@VERSION INTEGRITY` begins a package. A line `SHA256 SIZE x|- NAME` is one of its files,
 * sorted by name. The list is made from the tarballs that the lockfile identifies by sha512.
 *
 * Trust:  the list is part of the source, which a signature covers.
 * Proof:  test/unit/layers/3-published-digests.test.ts
 * @module
 */
import { faultsOf } from '../../oms/verification-error.ts';
import { compareNames, nameFault } from '../../oms/file-names.ts';
import type { SignedFile } from '../../oms/statement.ts';

/** A package in the lockfile, with its files. */
export type PackageDigests = {
  /** Its folder relative to the installation, such as `node_modules/koffi`. */
  readonly path: string;
  /** `name@version`. */
  readonly id: string;
  /** SHA-512 of its tarball, as in the lockfile. */
  readonly integrity: string;
  /** The files, with names relative to the installation. */
  readonly files: readonly SignedFile[];
};

/** The remedy for files that differ from the published digests. */
export const digestsRemedy =
  'reinstall the published packages: npm ci --omit=dev --ignore-scripts --no-bin-links; ' +
  'after an intended change of packages: npm run lock:digests';
const fault = faultsOf(3, digestsRemedy);
const head =
  '# Every file of the third-party tree, from the tarballs that package-lock.json names by sha512.\n' +
  '# Made by npm run lock:digests; verified at every start.\n';

/** Returns the file name of a platform's list, in this folder. */
export function digestsFile(platform: string): string {
  return `tree.${platform}.digests`;
}

/**
 * Returns the folders of packages that a platform never uses: Node's headers, and llama.cpp for the other processor.
 * The launcher removes them when it installs, because hashing them would slow every start.
 */
export function unusedFolders(platform: string): readonly string[] {
  const other = platform === 'linux-x64' ? 'linux-arm64' : 'linux-x64';
  return [`node_modules/node-${platform}/include`, `node_modules/@node-llama-cpp/${other}`];
}

/** Formats a list. */
export function formatDigests(packages: readonly PackageDigests[]): string {
  const lines = [...packages]
    .sort((a, b) => compareNames(a.path, b.path))
    .flatMap((entry) => [
      `package ${entry.path} ${entry.id} ${entry.integrity}`,
      ...entry.files.map(({ digest = '', size = 0, executable, name }) =>
        [digest, size, executable === true ? 'x' : '-', name.slice(entry.path.length + 1)].join(' '),
      ),
    ]);
  return `${head}${lines.join('\n')}\n`;
}

const packageLine = /^package (node_modules\/[\w@./-]+) (\S+@\S+) (sha512-[A-Za-z0-9+/]{86}==)$/;
const fileLine = /^([0-9a-f]{64}) (\d{1,12}) (x|-) (.+)$/;

/** Parses a list. @throws `L3_DIGESTS_SHAPE` */
export function parseDigests(text: string): PackageDigests[] {
  const packages: (PackageDigests & { files: SignedFile[] })[] = [];
  let current: (PackageDigests & { files: SignedFile[] }) | undefined;
  const lines = text.split('\n');
  if (lines.pop() !== '') throw fault('DIGESTS_SHAPE', 'the list of digests is truncated');
  for (const [index, line] of lines.entries()) {
    if (line.startsWith('#')) continue;
    const file = fileLine.exec(line);
    if (file !== null && current !== undefined) {
      const [, digest = '', size = '', executable, name = ''] = file;
      current.files.push({
        name: `${current.path}/${name}`,
        digest,
        shards: [],
        size: Number(size),
        executable: executable === 'x',
        package: current.id,
        role: undefined,
      });
      continue;
    }
    const found = packageLine.exec(line);
    if (found === null) throw fault('DIGESTS_SHAPE', `line ${index + 1} of the list of digests is damaged`);
    const [, path = '', id = '', integrity = ''] = found;
    current = { path, id, integrity, files: [] };
    packages.push(current);
  }
  for (const entry of packages) {
    if (nameFault(entry.path) !== undefined || entry.files.length === 0)
      throw fault('DIGESTS_SHAPE', `the package ${entry.id} in the list of digests is damaged`);
    for (const { name } of entry.files)
      if (/(^|\/)\.{0,2}(\/|$)/.test(name))
        throw fault('DIGESTS_SHAPE', `a file name of ${entry.id} in the list of digests is invalid`);
  }
  return packages;
}

/** Returns the paths of packages whose version or tarball differs between the list and a lockfile. */
export function compareLockfile(packages: readonly PackageDigests[], lockfile: string): string[] {
  let parsed: { packages?: Record<string, { version?: string; integrity?: string }> };
  try {
    parsed = JSON.parse(lockfile) as typeof parsed;
  } catch {
    throw fault('LOCKFILE_SHAPE', 'package-lock.json is not JSON');
  }
  const listed = parsed.packages ?? {};
  return packages
    .filter((entry) => {
      const locked = Object.hasOwn(listed, entry.path) ? listed[entry.path] : undefined;
      return locked?.integrity !== entry.integrity || !entry.id.endsWith(`@${locked.version ?? ''}`);
    })
    .map((entry) => entry.path);
}
