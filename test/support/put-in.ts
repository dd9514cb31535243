/**
 * A copy of the program with more code in it, run at a signal: what a process does when it fails, or is made to write
 * itself down.
 * @module
 */
import { join } from 'node:path';
import { copyInstallation } from './copy.ts';
import type { Copy } from './copy.ts';
import { editCode } from './find-code.ts';

/** What each signal does in the supervisor, the gateway and the engine of the copy. */
export const orders = {
  throw: 'SIGUSR2',
  reject: 'SIGWINCH',
  writeHeap: 'SIGURG',
  writeReport: 'SIGIO',
  stepClock: 'SIGPWR',
  spin: 'SIGXCPU',
} as const;

const folders = "['', '/tmp/', '/dev/shm/', process.cwd() + '/']";

const eachIn = (places: string, acts: readonly string[]) =>
  `for (const folder of ${places}) for (const act of [${acts.map((act) => `() => { ${act}; }`).join()}]) { try { act(); } catch { /* refused */ } }\n`;

/** Every way in which Node writes its heap to a file, each tried by itself. */
export const writeHeap = (places = folders): string =>
  eachIn(places, [
    "process.getBuiltinModule('node:v8').writeHeapSnapshot(folder + 'kwyre-put-in.heapsnapshot')",
    "process.getBuiltinModule('node:v8').setHeapSnapshotNearHeapLimit(1)",
  ]);

/** The same for the report on the process. */
export const writeReport = (places = folders): string =>
  eachIn(places, [
    "process.report.writeReport(folder + 'kwyre-put-in.json')",
    'process.report.directory = folder; process.report.writeReport()',
    "process.report.writeReport(new Error('put in'))",
  ]);

const statements = `
process.on('${orders.throw}', () => { throw new Error('put in'); });
process.on('${orders.reject}', () => { void Promise.reject(new Error('put in')); });
process.on('${orders.writeHeap}', () => { ${writeHeap()} throw new Error('put in'); });
process.on('${orders.writeReport}', () => { ${writeReport()} throw new Error('put in'); });
process.on('${orders.spin}', () => { for (;;); });
process.on('${orders.stepClock}', () => { const real = Date.now; Date.now = () => real() + 86_400_000; });
`;

const roles = { supervisor: 'monitor', gateway: 'net', engine: 'jailed' } as const;

/** A copy whose supervisor, gateway and engine follow {@link orders}. */
export function copyWithOrders(): Copy {
  const copy = copyInstallation(true);
  for (const [role, kind] of Object.entries(roles)) {
    const path = join(copy.path, 'src', role, 'main.ts');
    const title = `process.title = 'kwyre: ${role} [${kind}]';`;
    editCode(path, title, `${title}${statements}`);
  }
  return copy;
}
