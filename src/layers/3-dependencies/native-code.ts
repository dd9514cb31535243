/**
 * Native code of the tree: opened from memory that holds exactly the bytes that were hashed, never from what lies at a
 * path.
 *
 * Promise: a process that was handed sealed memory maps nothing else of the tree as code, however its files change. The
 *          first process of a start has no sealed memory yet (making it takes native code): it opens an unnamed copy of
 *          the bytes that it compared, and looks at the copy again before anything of it is used.
 * Limits:  who may look into that first process (root, and another program of the same user until it hides itself) can
 *          write its copy; the constructor of the native code runs before the second look.
 * Proof:   test/attacks/3-native.test.ts
 * @module
 */
import { hash } from 'node:crypto';
import type * as fs from 'node:fs';
import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import type { Difference } from '../../oms/verification-error.ts';
import { DifferenceError, printable } from '../../oms/verification-error.ts';
import { digestsRemedy } from './published-digests.ts';
import type { VerifiedFiles } from './load-hook.ts';

// Taken before any other code of the process could replace them.
const digestOf = hash;
const open = process.dlopen.bind(process);

type Open = typeof process.dlopen;

function refuse(difference: Difference): never {
  throw new DifferenceError(3, 'native code that is about to be loaded', [difference], digestsRemedy);
}

/** The foreign function interface of a platform, relative to the root. */
export function bindingName(platform: string): string {
  return `node_modules/@koromix/koffi-${platform}/${platform.replace('-', '_')}/koffi.node`;
}

/** llama.cpp's libraries in the order in which they need each other, then its variants for processors. */
const engineFiles = [
  /^libggml-base\.so$/,
  /^libggml\.v[\d.]+\.so$/,
  /^libllama\.v[\d.]+\.so$/,
  /^libggml-cpu[\w.-]*\.so$/,
] as const;

/** Files of the tree that a process maps as code besides Node: the interface first, then what the engine alone maps. */
export function nativeNames(
  names: Iterable<string>,
  platform: string,
): readonly [binding: string, ...engine: string[]] {
  const folder = `node_modules/@node-llama-cpp/${platform}/bins/${platform}/`;
  const files = [...names]
    .filter((name) => name.startsWith(folder))
    .map((name) => name.slice(folder.length))
    .sort();
  return [
    bindingName(platform),
    ...engineFiles.flatMap((pattern) => files.filter((file) => pattern.test(file)).map((file) => folder + file)),
  ];
}

/** What identifies a mapped file, as `/proc/PID/maps` and `fstat` both tell it. */
export function identityOf({ dev, ino }: Pick<fs.Stats, 'dev' | 'ino'>): string {
  return `${dev}:${ino}`;
}

function openFile(module: object, fd: number, flags: number | undefined): void {
  const path = `/proc/self/fd/${fd}`;
  // An absent flag must stay absent: Node counts the arguments.
  if (flags === undefined) open(module, path);
  else open(module, path, flags);
}

function replaceOpen(value: Open): void {
  Object.defineProperty(process, 'dlopen', { value, writable: false, configurable: false });
}

function nameOf(list: Pick<VerifiedFiles, 'root'>, path: string): string {
  return path.startsWith(`${list.root}/`) ? path.slice(list.root.length + 1) : path;
}

/**
 * From now on an addon is opened from its sealed memory, whatever lies at its path; one without is refused. For good.
 */
export function loadAddonsFromMemory(list: Pick<VerifiedFiles, 'root'>, natives: ReadonlyMap<string, number>): void {
  const verifiedOpen: Open = (module, path, flags) => {
    const name = nameOf(list, path);
    const fd = natives.get(name);
    if (fd === undefined) refuse({ kind: 'extra', name: printable(name) });
    openFile(module, fd, flags);
  };
  replaceOpen(verifiedOpen);
}

/** What `loadAddonsFromCopy` opened, by `identityOf`; and why it opened nothing more. */
export type LoadedAddons = { readonly own: ReadonlySet<string>; readonly refusal: DifferenceError | undefined };

const unnamed = 0o20000000 | constants.O_DIRECTORY; // O_TMPFILE
/** Folders that take unnamed files; one that is mounted `noexec` takes them and does not let them be mapped as code. */
const folders = ['/dev/shm', '/run', '/tmp', '/var/tmp'] as const;

/** An unnamed file with these bytes, or `undefined` where the folder takes none. */
function copyIn(folder: string, bytes: Buffer): number | undefined {
  let fd: number;
  try {
    fd = openSync(folder, unnamed | constants.O_RDWR, 0o600);
  } catch {
    return undefined;
  }
  try {
    for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at, bytes.length - at, at);
    return fd;
  } catch {
    closeSync(fd); // a full disk
    return undefined;
  }
}

function readWhole(fd: number): Buffer {
  const bytes = Buffer.allocUnsafeSlow(fstatSync(fd).size);
  let filled = 0;
  while (filled < bytes.length) {
    const count = readSync(fd, bytes, filled, bytes.length - filled, filled);
    if (count === 0) break;
    filled += count;
  }
  return bytes.subarray(0, filled);
}

/** Compares bytes with those of a listed file. */
function compare(list: VerifiedFiles, name: string, bytes: Buffer, when = ''): void {
  const expected = list.files.get(name);
  if (expected === undefined) refuse({ kind: 'extra', name: printable(name) });
  const found = digestOf('sha256', bytes, 'hex');
  if (found !== expected)
    refuse({ kind: 'changed', name: printable(name), expected: `sha256:${expected}`, found: `sha256:${found}${when}` });
}

/** The bytes of a listed file, compared. @throws `L3_FILES_DIFFER` */
export function readVerifiedFile(list: VerifiedFiles, name: string): Buffer {
  const fd = openSync(`${list.root}/${name}`, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const bytes = readWhole(fd);
    compare(list, name, bytes);
    return bytes;
  } finally {
    closeSync(fd);
  }
}

/**
 * From now on an addon is opened from a copy of the bytes that were compared, which has no name; where no folder takes
 * one, from the compared file itself, by its descriptor. For the process that has no sealed memory.
 * @returns what came of it, filled as it happens
 */
export function loadAddonsFromCopy(list: VerifiedFiles): LoadedAddons {
  const opened: { own: Set<string>; refusal: DifferenceError | undefined } = { own: new Set(), refusal: undefined };
  const verifiedOpen: Open = (module, path, flags) => {
    // Whoever asks for an addon may take a refusal for a missing file, and go on to another one.
    if (opened.refusal !== undefined) throw opened.refusal;
    const name = nameOf(list, path);
    const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    const bytes = readWhole(file);
    const check = (found: Buffer, when?: string): void => {
      try {
        compare(list, name, found, when);
      } catch (error) {
        if (error instanceof DifferenceError) opened.refusal = error;
        throw error;
      }
    };
    check(bytes);
    const use = (fd: number): void => {
      openFile(module, fd, flags);
      check(readWhole(fd), ', after it was mapped');
      opened.own.add(identityOf(fstatSync(fd)));
    };
    for (const folder of folders) {
      const fd = copyIn(folder, bytes);
      if (fd === undefined) continue;
      try {
        use(fd);
      } catch (error) {
        closeSync(fd);
        if (error instanceof DifferenceError) throw error;
        continue; // mounted noexec
      }
      closeSync(file);
      return;
    }
    use(file);
  };
  replaceOpen(verifiedOpen);
  return opened;
}
