/**
 * kwyre: watchdog [watch]. Scans the server's processes and those that inspect them, and reports to the supervisor.
 *
 * It opens nothing for writing, creates no socket and sends no signal. It asks the kernel about Unix sockets through a
 * socket that it inherits. `watch-loop.ts` contains the control flow; this file provides the sources that it reads.
 * @module
 */
import { uptime } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { applyFinalFilter } from '../layers/2-isolation/jail/final-filter.ts';
import { monotonicMs, runnableOf } from '../linux/clocks.ts';
import { askUnixSocket, protocolName } from '../linux/sockets/sock-diag.ts';
import { openProcReader } from '../linux/procfs/proc-reader.ts';
import { socketName } from '../linux/sockets/socket.ts';
import { descriptors } from '../wire/messages.ts';
import { runWatchLoop } from './watch-loop.ts';

process.title = 'kwyre: watchdog [watch]';
process.exitCode = 1;
// Reading a hidden file throws an error, and stack traces would be the most expensive part of a scan.
Error.stackTraceLimit = 0;

/** Returns whether the supervisor passed a diagnostic socket; a service manager may forbid creating one. */
function canAsk(): boolean {
  try {
    return socketName(descriptors.diag).family === 'other';
  } catch {
    return false;
  }
}

runWatchLoop({
  pid: process.pid,
  seal: () => applyFinalFilter('watchdog'),
  exit(code) {
    process.exit(code);
  },
  askUnix: canAsk() ? (inode) => askUnixSocket(descriptors.diag, inode) : undefined,
  protocolName,
  proc: openProcReader(),
  clocks: () => ({ monotonic: monotonicMs(), boot: uptime() * 1000, runnable: runnableOf('self') }),
  now: () => performance.now(),
  pause: async (ms) => {
    await pause(ms);
  },
});
