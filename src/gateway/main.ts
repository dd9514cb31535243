/**
 * kwyre: gateway [net]. Serves HTTP on an inherited listening socket; authenticates, limits and relays requests.
 *
 * It creates no socket, opens no file after its final filter and parses no conversation. `lifecycle.ts` is the program;
 * this file supplies its powers.
 * @module
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { applyFinalFilter } from '../layers/2-isolation/jail/final-filter.ts';
import { monotonicMs } from '../linux/clocks.ts';
import { openFilesOf } from '../linux/procfs/limits.ts';
import { socketName, socketOption, socketOptions } from '../linux/sockets/socket.ts';
import { descriptors } from '../wire/messages.ts';
import { serve } from './lifecycle.ts';

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
      return false; // closed, or a descriptor of Node itself
    }
  },
  openFiles: () => openFilesOf(readFileSync('/proc/self/limits', 'utf8')).soft,
  now: () => performance.now(),
  monotonic: monotonicMs,
  randomToken: () => randomBytes(32).toString('base64url'),
});
