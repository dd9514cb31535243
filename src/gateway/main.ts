/**
 * kwyre: gateway [net]. HTTP on a listening socket that it inherits; authentication and limits; bodies pass through it.
 *
 * It makes no socket, opens no file after its seal and parses no conversation. The flow is in serve.ts; here are the
 * powers that it gets.
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
  seal: () => applyFinalFilter('gateway'),
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
      return false; // nothing there, or a descriptor of Node's own
    }
  },
  openFiles: () => openFilesOf(readFileSync('/proc/self/limits', 'utf8')).soft,
  now: () => performance.now(),
  monotonic: monotonicMs,
  randomToken: () => randomBytes(32).toString('base64url'),
});
