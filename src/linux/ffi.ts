/**
 * The foreign-function interface: the only file that loads koffi.
 *
 * It loads koffi's native code directly: the JavaScript of that package only finds and wraps it, and takes 9 ms of
 * every start of a process.
 *
 * Native functions are declared only in `linux/` and `engine/llama/`; other folders call the functions that these two
 * export.
 *
 * Trust: `libc` is the C library that Node is linked against; other libraries are opened by their full path.
 * Proof: test/architecture.test.ts
 * @module
 */
import type nativeKoffi from 'koffi';
import { constants } from 'node:os';
import { join } from 'node:path';
import { bindingName } from './ffi-binding.ts';

const addon = { exports: {} as typeof nativeKoffi };
process.dlopen(addon, join(import.meta.dirname, '..', '..', bindingName(`${process.platform}-${process.arch}`)));
const koffi = addon.exports;

// Native functions run on stacks that koffi allocates. Its default of 128 KiB for asynchronous calls is too small for
// llama.cpp, whose tokenizers recurse over long words. Untouched pages cost nothing.
koffi.config({ sync_stack_size: 16 << 20, async_stack_size: 16 << 20, resident_async_pools: 4, max_async_calls: 256 });

/** koffi itself, for structs and pointers. */
export const ffi = koffi;

/** The C library of this process. */
export const libc = koffi.load(null);

const errnoNames = new Map<number, string>(Object.entries(constants.errno).map(([name, value]) => [value, name]));

/** A failed system call. */
export class LinuxError extends Error {
  override readonly name = 'LinuxError';
  /** The system call, e.g. `socket`. */
  readonly call: string;
  readonly errno: number;
  /** The name of `errno`, e.g. `EPERM`. */
  readonly code: string;

  constructor(call: string, errno: number) {
    const code = errnoNames.get(errno) ?? `errno ${String(errno)}`;
    super(`${call}: ${code}`);
    this.call = call;
    this.errno = errno;
    this.code = code;
  }
}

/** Returns `errno` of the last native call on this thread; read it before the next call. */
export function lastErrno(): number {
  return koffi.errno();
}

/**
 * Returns the result of a native call.
 * @throws LinuxError if `result` is negative
 */
export function checked(call: string, result: number): number {
  if (result < 0) throw new LinuxError(call, lastErrno());
  return result;
}
