/**
 * kwyre: watchdog [watch]. Looks at our processes and at those who look at them; reports to the supervisor, never acts.
 *
 * It opens nothing for writing, makes no socket, signals nobody; by one that it is handed it asks what a Unix socket
 * is. The flow is in watch.ts; here are the powers it gets.
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
// Every process that hides something from us throws; the traces would be the dearest part of a scan.
Error.stackTraceLimit = 0;

/** Whether the supervisor handed over a socket to ask by: a service manager may not have let it make one. */
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
  eyes: openProcReader(),
  clocks: () => ({ monotonic: monotonicMs(), boot: uptime() * 1000, runnable: runnableOf('self') }),
  now: () => performance.now(),
  pause: async (ms) => {
    await pause(ms);
  },
});
