/**
 * What runs besides files of the tree: the Node binary, the libraries mapped into this process, environment and flags.
 *
 * Promise: the process runs the verified Node with flags and variables that load no code of others, and maps nothing
 *          executable but that binary, libraries of the system (root's, writable by root alone), and verified files.
 * Limits:  code that ran before us in this process could lie to us: the launcher clears the environment first.
 * Proof:   test/unit/layers/3-runtime-check.test.ts
 * @module
 */
import type * as fs from 'node:fs';
import { roleFlags } from '../../policy/node-flags.ts';
import type { Mapping } from '../../linux/procfs/maps.ts';
import { codeMappings } from '../../linux/procfs/maps.ts';
import type { WritersDisk } from '../../linux/files/path-writers.ts';
import { describeGrant, sortWriters, writersOf } from '../../linux/files/path-writers.ts';
import type { Difference } from '../../oms/verification-error.ts';
import { fromShown } from '../../linux/procfs/escaped-path.ts';
import { printable } from '../../oms/verification-error.ts';

/** Variables that make Node, the loader or OpenSSL load code or trust of others; none may be set. */
const forbiddenVariables = /^(NODE_|LD_|GCONV_PATH$|OPENSSL_|SSL_CERT_|UV_|MALLOC_|GLIBC_TUNABLES$|DYLD_|NAPI_|npm_)/;
/** Flags that Kwyre's own processes use; any other flag is refused. */
const allowedFlags: ReadonlySet<string> = new Set(roleFlags);

/** Variables and flags that should not be there. */
export function environmentFaults(
  environment: Readonly<Record<string, string | undefined>>,
  flags: readonly string[],
  compileCache: string | undefined,
): Difference[] {
  const faults: Difference[] = [];
  for (const name of Object.keys(environment)) {
    if (forbiddenVariables.test(name))
      faults.push({
        kind: 'extra',
        name: `variable ${printable(name)}`,
        found: 'it can make other code run; start with ./kwyre, which clears it',
      });
  }
  for (const flag of flags)
    if (!allowedFlags.has(flag))
      faults.push({ kind: 'extra', name: `flag ${printable(flag)}`, found: 'not one of ours' });
  if (compileCache !== undefined)
    faults.push({ kind: 'extra', name: 'compile cache', found: 'cached code could differ from the verified source' });
  return faults;
}

/** Files mapped executable in `/proc/PID/maps`, each once; paths as the kernel shows them (`escaped-path.ts`). */
export function executableMappings(maps: string): Mapping[] {
  return codeMappings(maps).filter(({ path }) => path.startsWith('/'));
}

/** Libraries of the system that are mapped, by their paths. */
export type RuntimeEvidence = {
  readonly libraries: readonly string[];
  readonly verified: number;
  /**
   * One that a group, or the user who runs us, can write, folders above included, in words; empty when there is none.
   */
  readonly wide: string;
};

/**
 * Mapped executables that are neither verified files nor libraries that only root can write.
 * @param uid - who runs this process
 * @param verified - paths and `device:inode` of verified files; some file systems show another device in maps than in
 * stat
 */
export function mappingFaults(
  disk: WritersDisk,
  maps: string,
  verified: ReadonlySet<string>,
  uid: number,
): { readonly faults: readonly Difference[]; readonly evidence: RuntimeEvidence } {
  const faults: Difference[] = [];
  const libraries: string[] = [];
  let known = 0;
  for (const mapping of executableMappings(maps)) {
    // A file that was replaced since shows as `PATH (deleted)`.
    if (verified.has(`${mapping.device}:${mapping.inode}`) || verified.has(mapping.path)) {
      known += 1;
      continue;
    }
    const path = fromShown(mapping.path);
    if (isSystemLibrary(disk, path)) libraries.push(path);
    else
      faults.push({
        kind: 'extra',
        name: printable(path),
        found: 'mapped as code, and neither verified nor a library of the system',
      });
  }
  const { own, groups, others } = sortWriters(writersOf(disk, libraries), uid, disk);
  for (const grant of others)
    faults.push({
      kind: 'mode',
      name: printable(grant.path),
      found: `${describeGrant(grant)}, and libraries of the system are loaded through it`,
    });
  const [wide] = [...groups, ...own];
  return {
    faults,
    evidence: {
      libraries: libraries.sort(),
      verified: known,
      wide: wide === undefined ? '' : `${printable(wide.path)} (${describeGrant(wide)})`,
    },
  };
}

/**
 * Whether a path is a library of the system, which only root can write. A file that was replaced since has no such
 * path.
 */
export function isSystemLibrary(disk: Pick<typeof fs, 'lstatSync'>, path: string): boolean {
  const facts = disk.lstatSync(path, { throwIfNoEntry: false });
  return facts?.isFile() === true && facts.uid === 0 && (facts.mode & 0o022) === 0 && systemLibrary.test(path);
}

/** Where the system keeps its libraries. */
const systemLibrary = /^\/(nix\/store\/[^/]+\/|usr\/)?(local\/)?lib(32|64|x32)?\/(?!.*\/\.\.?\/)[^\n]*\.so[.\d]*$/;
