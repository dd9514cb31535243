/**
 * Checks this process itself: its flags, its environment, and the files mapped as code.
 *
 * Promise: no flag or variable loads foreign code, and nothing is mapped executable except the verified Node, verified
 *          files, and system libraries that belong to root and that only root can write.
 * Limits:  code that ran in this process before the check could fake the result; the launcher clears the environment
 *          first.
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

/** Variables that make Node, the dynamic linker or OpenSSL load code or trust anchors; none may be set. */
const forbiddenVariables = /^(NODE_|LD_|GCONV_PATH$|OPENSSL_|SSL_CERT_|UV_|MALLOC_|GLIBC_TUNABLES$|DYLD_|NAPI_|npm_)/;
/** Flags that Kwyre's own processes use; any other flag is refused. */
const allowedFlags: ReadonlySet<string> = new Set(roleFlags);

/** Returns unsafe variables and unknown flags. */
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
        found: 'it can load other code; start with ./kwyre, which clears it',
      });
  }
  for (const flag of flags)
    if (!allowedFlags.has(flag)) faults.push({ kind: 'extra', name: `flag ${printable(flag)}`, found: 'unknown flag' });
  if (compileCache !== undefined)
    faults.push({ kind: 'extra', name: 'compile cache', found: 'cached code may differ from the verified source' });
  return faults;
}

/**
 * Returns the files mapped executable in `/proc/PID/maps`, each once; paths in the kernel's form (`escaped-path.ts`).
 */
export function executableMappings(maps: string): Mapping[] {
  return codeMappings(maps).filter(({ path }) => path.startsWith('/'));
}

/** The mapped system libraries. */
export type RuntimeEvidence = {
  readonly libraries: readonly string[];
  readonly verified: number;
  /** A library, or a folder above one, that a group or the current user can write, in words; empty if there is none. */
  readonly wide: string;
};

/**
 * Returns the files mapped as code that are neither verified nor system libraries that only root can write.
 * @param uid - uid of this process
 * @param verified - paths and `device:inode` of verified files; on some file systems, maps and stat show different
 * device numbers
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
    // A replaced file appears as `PATH (deleted)`.
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
        found: 'mapped as code, but neither verified nor a system library',
      });
  }
  const { own, groups, others } = sortWriters(writersOf(disk, libraries), uid, disk);
  for (const grant of others)
    faults.push({
      kind: 'mode',
      name: printable(grant.path),
      found: `${describeGrant(grant)}, and system libraries load through it`,
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

/** Returns whether a path is a system library that belongs to root and that only root can write. */
export function isSystemLibrary(disk: Pick<typeof fs, 'lstatSync'>, path: string): boolean {
  const facts = disk.lstatSync(path, { throwIfNoEntry: false });
  return facts?.isFile() === true && facts.uid === 0 && (facts.mode & 0o022) === 0 && systemLibrary.test(path);
}

/** Paths of system libraries. */
const systemLibrary = /^\/(nix\/store\/[^/]+\/|usr\/)?(local\/)?lib(32|64|x32)?\/(?!.*\/\.\.?\/)[^\n]*\.so[.\d]*$/;
