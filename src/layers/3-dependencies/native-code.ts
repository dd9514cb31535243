/**
 * Loads native code from memory, from exactly the bytes that were hashed, never from a path.
 *
 * Promise: a process that inherited sealed memfds maps no other file from the tree as code, even if the files change.
 *          The first process to start has no memfds yet, because creating one requires native code. It loads an unnamed
 *          copy of the bytes that it compared, and compares the copy again before using it.
 * Limits:  a root process can write to the first process's copy, and so can a process of the same user until the first
 *          process becomes non-dumpable. The library's constructor runs before the second comparison.
 * Proof:   test/attacks/3-native.test.ts
 * @module
 */
import type * as fs from 'node:fs';
import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { bindingName } from '../../linux/ffi-binding.ts';
import type { Difference } from '../../oms/verification-error.ts';
import { DifferenceError, printable } from '../../oms/verification-error.ts';
import { digestsRemedy } from './published-digests.ts';
import type { VerifiedFiles } from './types.ts';

const { hash } = process.getBuiltinModule('node:crypto');

// Captured before other code could replace them.
const digestOf = hash;
const open = process.dlopen.bind(process);

type Open = typeof process.dlopen;

function refuse(difference: Difference): never {
  throw new DifferenceError(3, 'native code about to load', [difference], digestsRemedy);
}

/** llama.cpp's libraries in dependency order, followed by its CPU variants. */
const engineFiles = [
  /^libggml-base\.so$/,
  /^libggml\.v[\d.]+\.so$/,
  /^libllama\.v[\d.]+\.so$/,
  /^libggml-cpu[\w.-]*\.so$/,
] as const;

/** Returns the native code apart from Node: the foreign function interface, then the engine's libraries. */
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

/** Returns the identity of a file, which is the same whether computed from `/proc/PID/maps` or `fstat`. */
export function identityOf({ dev, ino }: Pick<fs.Stats, 'dev' | 'ino'>): string {
  return `${dev}:${ino}`;
}

function openFile(module: object, fd: number, flags: number | undefined): void {
  const path = `/proc/self/fd/${fd}`;
  // Node counts the arguments, so flags that are absent must stay absent.
  if (flags === undefined) open(module, path);
  else open(module, path, flags);
}

function replaceOpen(value: Open): void {
  Object.defineProperty(process, 'dlopen', { value, writable: false, configurable: false });
}

function nameOf(list: Pick<VerifiedFiles, 'root'>, path: string): string {
  return path.startsWith(`${list.root}/`) ? path.slice(list.root.length + 1) : path;
}

/** From now on, loads every addon from its memfd, whatever its file contains, and refuses addons without a memfd. */
export function loadAddonsFromMemory(list: Pick<VerifiedFiles, 'root'>, natives: ReadonlyMap<string, number>): void {
  const verifiedOpen: Open = (module, path, flags) => {
    const name = nameOf(list, path);
    const fd = natives.get(name);
    if (fd === undefined) refuse({ kind: 'extra', name: printable(name) });
    openFile(module, fd, flags);
  };
  replaceOpen(verifiedOpen);
}

/** The copies that `loadAddonsFromCopy` loaded, by `identityOf`, and the first refusal. */
type LoadedAddons = { readonly own: ReadonlySet<string>; readonly refusal: DifferenceError | undefined };

const unnamed = 0o20000000 | constants.O_DIRECTORY; // O_TMPFILE
/** Folders for unnamed files. On a `noexec` mount, mapping a file as code fails, and the next folder is tried. */
const folders = ['/dev/shm', '/run', '/tmp', '/var/tmp'] as const;

/** Returns an unnamed file with these bytes; `undefined` if the folder does not support it. */
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

/** Throws if these are not the bytes of a listed file. */
function compare(list: VerifiedFiles, name: string, bytes: Buffer, when = ''): void {
  const expected = list.files.get(name);
  if (expected === undefined) refuse({ kind: 'extra', name: printable(name) });
  const found = digestOf('sha256', bytes, 'hex');
  if (found !== expected)
    refuse({ kind: 'changed', name: printable(name), expected: `sha256:${expected}`, found: `sha256:${found}${when}` });
}

/** Reads a listed file and compares it. @throws `L3_FILES_DIFFER` */
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
 * From now on, loads every addon from an unnamed copy of the compared bytes or, if no folder supports one, from the
 * compared file through its descriptor. For the process that has no memfds yet.
 * @returns the result so far; updated with every addon
 */
export function loadAddonsFromCopy(list: VerifiedFiles): LoadedAddons {
  const opened: { own: Set<string>; refusal: DifferenceError | undefined } = { own: new Set(), refusal: undefined };
  const verifiedOpen: Open = (module, path, flags) => {
    // A caller may treat a refusal as a missing file and try another file, so every later file is refused too.
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
      check(readWhole(fd), ' after mapping');
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
        continue; // noexec mount
      }
      closeSync(file);
      return;
    }
    use(file);
  };
  replaceOpen(verifiedOpen);
  return opened;
}
