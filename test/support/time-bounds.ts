/**
 * Times that the product promises. A busy machine breaks such a bound although nothing is wrong, so a test prints what
 * it took, and only `./test/run times` fails when it took longer: run that on a machine with nothing else to do.
 * @module
 */
import assert from 'node:assert/strict';

/** Whether a promised time that is exceeded is a failure. */
export const timesCount = process.env['KWYRE_ASSERT_TIMES'] === '1';

/** Prints how long something took beside the promise, and compares them where times count. */
export function assertWithin(what: string, tookMs: number, promisedMs: number): void {
  const words = `${what}: ${tookMs.toFixed(0)} ms, promised within ${promisedMs} ms`;
  console.log(words);
  if (timesCount) assert.ok(tookMs < promisedMs, words);
}

/** Processor time that this thread has used, in milliseconds: what others do on the machine does not count. */
export function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
