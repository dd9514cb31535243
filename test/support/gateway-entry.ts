/**
 * The gateway without jail and final filter, for tests of layer 1 alone: what holds here holds without layer 2.
 * @module
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { serve } from '../../src/gateway/lifecycle.ts';
import { monotonicMs } from '../../src/linux/clocks.ts';
import { socketName, socketOption, socketOptions } from '../../src/linux/sockets/socket.ts';

serve({
  pid: process.pid,
  applyFinalFilter: () => [],
  exit: (code) => process.exit(code),
  readFile: (path) => readFileSync(path),
  hasUnixListener() {
    try {
      return socketName(6).family === 'unix' && socketOption(6, socketOptions.acceptsConnections) === 1;
    } catch {
      return false;
    }
  },
  openFiles: () => 2048,
  now: () => performance.now(),
  monotonic: monotonicMs,
  randomToken: () => randomBytes(32).toString('base64url'),
});
