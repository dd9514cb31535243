/**
 * Hostile entry: holds the file that it is told to read in a process whose first thread has ended, so that the
 * process's own folder in /proc shows no program and no descriptor.
 * @module
 */
import { openSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { callByName } from '../../../src/linux/syscalls.ts';

openSync(process.argv[2] ?? '', 'r');
const worker = new Worker('Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20_000); process.exit();', {
  eval: true,
});
worker.once('online', () => {
  callByName('exit', 0); // of this thread alone
});
