/**
 * The signals with which a user or a service manager stops the server.
 *
 * Proof: test/e2e/lifecycle.test.ts, test/unit/linux/ignored-signals.test.ts
 * @module
 */
import { ignoredIn, ignoredVariable } from '../linux/ignored-signals.ts';

/**
 * Returns a promise that settles with the first SIGTERM, SIGINT, SIGHUP or SIGQUIT. Signals that were ignored when the
 * server was started (`nohup`) stay ignored. Ctrl-Z is disabled, because a suspended supervisor could not act on what
 * its watchdog detects.
 */
export function stopSignal(): Promise<'stop'> {
  const stop = Promise.withResolvers<'stop'>();
  const ignored = ignoredIn(process.env[ignoredVariable]);
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'] as const) {
    if (ignored.has(signal)) continue;
    process.on(signal, () => {
      stop.resolve('stop');
    });
  }
  process.on('SIGTSTP', () => {
    if (!ignored.has('SIGTSTP')) console.error('kwyre: Ctrl-Z is disabled\n  next: stop the server with Ctrl-C');
  });
  return stop.promise;
}
