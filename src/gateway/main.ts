/**
 * kwyre: gateway [net]. Serves HTTP on an inherited listening socket, and authenticates, limits and relays requests.
 *
 * It creates no socket, parses no conversation, and opens no file once its final filter is installed. `lifecycle.ts` is
 * the program; this file supplies the functions it calls.
 * @module
 */
import { readFileSync } from 'node:fs';
import { applyFinalFilter } from '../layers/2-isolation/jail/final-filter.ts';
import { monotonicMs } from '../linux/clocks.ts';
import { openFilesOf } from '../linux/procfs/limits.ts';
import { socketName, socketOption, socketOptions } from '../linux/sockets/socket.ts';
import { descriptors } from '../wire/messages.ts';
import { serve } from './lifecycle.ts';

const { randomBytes } = process.getBuiltinModule('node:crypto');

process.title = 'kwyre: gateway [net]';
process.exitCode = 1;
serve({
  pid: process.pid,
  applyFinalFilter: () => applyFinalFilter('gateway'),
  exit(code) {
    process.exit(code);
  },
  readFile: (path) => readFileSync(path),
  hasUnixListener() {
    try {
      return (
        socketName(descriptors.unixListener).family === 'unix' &&
        socketOption(descriptors.unixListener, socketOptions.acceptsConnections) === 1
      );
    } catch {
      return false; // closed, or one of Node's own descriptors
    }
  },
  openFiles: () => openFilesOf(readFileSync('/proc/self/limits', 'utf8')).soft,
  now: () => performance.now(),
  monotonic: monotonicMs,
  randomToken: () => randomBytes(32).toString('base64url'),
});
