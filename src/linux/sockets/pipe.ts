/**
 * A pipe without a Node handle, for a child process's output.
 *
 * Node's own pipes to children are Unix sockets, which the watchdog would report as undeclared.
 * Source: pipe(2)
 * @module
 */
import { checked, libc } from '../ffi.ts';

const cPipe = libc.func('int pipe2(void *pair, int flags)') as (pair: Int32Array, flags: number) => number;
const closeOnExec = 0o2000000;

/** Creates a pipe and returns both ends, close-on-exec. @throws LinuxError */
export function makePipe(): { readonly reading: number; readonly writing: number } {
  const pair = new Int32Array(2);
  checked('pipe2', cPipe(pair, closeOnExec));
  return { reading: pair[0] ?? -1, writing: pair[1] ?? -1 };
}
