/**
 * The only importer of the foreign-function interface; everything native goes through here.
 *
 * Trust: `libc` is the C library that Node itself is linked with; other libraries are opened by full path only.
 * @module
 */
import koffi from 'koffi';
import { constants } from 'node:os';

// Native functions run on stacks of the binding, not on the thread's own. Its 128 KiB for calls off the main thread are
// too small for what llama.cpp does there (its tokenisers recurse over long words). Untouched pages cost nothing.
koffi.config({ sync_stack_size: 16 << 20, async_stack_size: 16 << 20, resident_async_pools: 4, max_async_calls: 256 });

/** The interface itself, for the two callers that need structs and pointers: `linux/` and `engine/llama/model.ts`. */
export const ffi = koffi;

/** The C library of this process. */
export const libc = koffi.load(null);

const errnoNames = new Map<number, string>(Object.entries(constants.errno).map(([name, value]) => [value, name]));

/** A failed call into the kernel: which call, and the kernel's own word for why. */
export class LinuxError extends Error {
  override readonly name = 'LinuxError';
  /** The system call, e.g. `socket`. */
  readonly call: string;
  readonly errno: number;
  /** The kernel's name, e.g. `EPERM`. */
  readonly code: string;

  constructor(call: string, errno: number) {
    const code = errnoNames.get(errno) ?? `errno ${String(errno)}`;
    super(`${call}: ${code}`);
    this.call = call;
    this.errno = errno;
    this.code = code;
  }
}

/** The error number of the last native call on this thread; read it before any other call. */
export function lastErrno(): number {
  return koffi.errno();
}

/**
 * Passes a result through, or throws when the call failed.
 * @throws LinuxError when `result` is negative.
 */
export function checked(call: string, result: number): number {
  if (result < 0) throw new LinuxError(call, lastErrno());
  return result;
}
