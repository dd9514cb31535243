/**
 * `kwyre deps plan`: prints the packages, Kwyre's own files and the changes since the last signature, as text, as a
 * list of digests or as CycloneDX.
 *
 * Proof: test/attacks/3-tree.test.ts
 * @module
 */
import { root } from '../../installation/paths.ts';
import { parseDigests } from '../../layers/3-dependencies/published-digests.ts';
import type { PackageDigests } from '../../layers/3-dependencies/published-digests.ts';
import type { TreeInput } from '../../layers/3-dependencies/types.ts';
import { readSignatures } from '../../state/tree-signatures.ts';
import type { Flags } from './deps-flags.ts';
import { usage } from './deps-flags.ts';
import { changesSince, hashInstallation, publishedDifferences, signedBefore } from './installed-files.ts';

/** Matches the names of files that contain machine code. */
const native = /\.(node|so|dylib|dll)(\.[\d.]+)?$|\/bin\/node$/;

/** Prints what `kwyre deps seal` would sign. @returns 13 if packages differ from the published ones, else 0 */
export function plan(order: TreeInput, values: Flags): number {
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
  const before = signedBefore(readSignatures(root));
  const changes = changesSince(before, files);
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
  console.log('packages, compared with the tarballs whose sha512 is in package-lock.json:');
  for (const entry of summary)
    console.log(
      `  ${entry.package.padEnd(40)} ${String(entry.files).padStart(5)} files, ${entry.native.length} with ` +
        `machine code, ${entry.executable} executable`,
    );
  console.log(`own files: ${own.length} (sources, stripped program, page, lockfile)`);
  if (before === undefined) console.log('this installation is not signed yet');
  else {
    const more = changes.length > 40 ? [`and ${changes.length - 40} more`] : [];
    const listed = [...changes.slice(0, 40), ...more];
    console.log(
      changes.length === 0
        ? 'nothing has changed since the last signature'
        : `changes since the last signature:\n  ${listed.join('\n  ')}`,
    );
  }
  if (differences.length === 0) {
    if (before === undefined || changes.length > 0)
      console.log('every package is the published one; sign all files above with ./kwyre deps seal --reason "why"');
    return 0;
  }
  console.log(
    `files that no published package contains, or that differ from it:\n${differences
      .slice(0, 40)
      .map((entry) => `  ${entry.kind.padEnd(8)} ${entry.name}`)
      .join('\n')}`,
  );
  return 13;
}

/** Returns the packages as a CycloneDX 1.6 bill of materials. */
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
