/**
 * A pipe without a Node handle: what a child writes into it can be read here, and it is no socket.
 *
 * Node's own pipes to children are Unix sockets; the watchdog would take one that nobody declared for a way out.
 * Source: pipe(2)
 * @module
 */
import { checked, libc } from '../ffi.ts';

const cPipe = libc.func('int pipe2(void *pair, int flags)') as (pair: Int32Array, flags: number) => number;
const closeOnExec = 0o2000000;

/** Reading and writing end, both close-on-exec. @throws LinuxError */
export function makePipe(): { readonly reading: number; readonly writing: number } {
  const pair = new Int32Array(2);
  checked('pipe2', cPipe(pair, closeOnExec));
  return { reading: pair[0] ?? -1, writing: pair[1] ?? -1 };
}
