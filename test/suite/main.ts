/**
 * Runs test files side by side, each alone in its process, and prints one report: every file's output when it ends, the
 * ten slowest files, and last the plain line `N passed, N failed`.
 *
 * Root gives each file process, network and mount namespaces of its own (`unshare`). So no test sees another's
 * debuggers, captures or servers, and the kernel ends whatever a test leaves behind. Where that is not possible (an
 * ordinary user, some containers) attack files run one after another, because a server under test counts every debugger
 * that it sees.
 *
 *   node test/suite/main.ts [--jobs N] FILE...
 * @module
 */
import { spawn, spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { slowFirst } from './slow.ts';

const root = join(import.meta.dirname, '..', '..');
const { values, positionals } = parseArgs({ allowPositionals: true, options: { jobs: { type: 'string' } } });
const files = positionals.map((file) => relative(root, file));
const jobs = values.jobs === undefined ? Math.max(2, availableParallelism()) : Number(values.jobs);
if (!Number.isSafeInteger(jobs) || jobs < 1) throw new Error('--jobs takes a whole number from 1');

/** What one file came to. */
type Result = { readonly file: string; readonly passed: number; readonly failed: number; readonly seconds: number };

const own = '/proc/sys/kernel/ns_last_pid';
/**
 * A file's first process: loopback up, and process ids that no sibling namespace uses (a transient user is named after
 * one). The shell stays, as the process that reaps orphans: a zombie keeps its keys and its user.
 */
const inside = `ip link set lo up; echo "$1" > ${own}; shift; "$@"; exit $?`;

const namespaces = ['--pid', '--fork', '--kill-child', '--mount-proc', '--net', '--mount', '--propagation', 'private'];
/** Whether files get namespaces of their own: root may, except in a container that forbids it. */
const apart = process.getuid?.() === 0 && spawnSync('unshare', [...namespaces, 'true']).status === 0;

/** The command that runs one file. Unit tests need no namespaces: they start no server. */
function command(file: string, index: number): string[] {
  const node = [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    '--test',
    '--test-timeout=600000',
    '--test-reporter=./test/support/reporter.ts',
    '--test-reporter-destination=stdout',
    file,
  ];
  if (!apart || file.startsWith('test/unit/')) return node;
  return ['unshare', ...namespaces, 'sh', '-c', inside, 'sh', String(400 + ((index * 250) % 30_000)), ...node];
}

function run(file: string, index: number): Promise<Result> {
  const started = performance.now();
  const [program = '', ...args] = command(file, index);
  const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  const chunks: Buffer[] = [];
  for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (chunk: Buffer) => chunks.push(chunk));
  return new Promise((resolve) => {
    child.once('close', (code, signal) => {
      running.delete(child);
      const text = Buffer.concat(chunks).toString();
      const last = /\n(\d+) passed, (\d+) failed\n$/.exec(text);
      const counted = { passed: Number(last?.[1] ?? 0), failed: Number(last?.[2] ?? 0) };
      // A file that ended without its count, or that failed without a failed test, counts as one failure.
      const failed =
        last === null || (code !== 0 && counted.failed === 0) || counted.passed + counted.failed === 0
          ? Math.max(1, counted.failed)
          : counted.failed;
      const seconds = (performance.now() - started) / 1000;
      const note = failed === counted.failed ? '' : `the file ended with ${signal ?? `exit code ${code ?? 0}`}\n`;
      process.stdout.write(
        `${failed > 0 ? 'FAILED' : 'ok'} ${file} (${counted.passed} passed, ${failed} failed, ${seconds.toFixed(1)} s)\n${failed > 0 ? text : ''}${note}`,
      );
      resolve({ file, passed: counted.passed, failed, seconds });
    });
  });
}

const running = new Set<ReturnType<typeof spawn>>();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    // unshare(1) passes SIGTERM on to nobody; when it is killed, the kernel ends all of its namespace.
    for (const child of running) child.kill(apart ? 'SIGKILL' : 'SIGTERM');
    process.exit(1);
  });
}

/** Runs a queue of files, `width` at a time. */
async function drain(queue: string[], width: number): Promise<Result[]> {
  const results: Result[] = [];
  const worker = async (): Promise<void> => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift())
      results.push(await run(file, files.indexOf(file)));
  };
  await Promise.all(Array.from({ length: width }, worker));
  return results;
}

// The longest files first, so that none of them is alone at the end.
const rank = (file: string): number => (slowFirst.includes(file) ? slowFirst.indexOf(file) : slowFirst.length);
const ordered = [...files].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
const alone = apart ? [] : ordered.filter((file) => !file.startsWith('test/unit/'));
const results = [
  ...(await drain(
    ordered.filter((file) => !alone.includes(file)),
    jobs,
  )),
  ...(await drain(alone, 1)),
];

const slowest = [...results].sort((a, b) => b.seconds - a.seconds).slice(0, 10);
console.log(
  `\nthe ten slowest files:\n${slowest.map(({ file, seconds }) => `  ${seconds.toFixed(1).padStart(6)} s  ${file}`).join('\n')}`,
);
const failing = results.filter(({ failed }) => failed > 0);
if (failing.length > 0)
  console.log(`\nfailed:\n${failing.map(({ file, failed }) => `  ${failed} in ${file}`).join('\n')}`);
const total = (key: 'passed' | 'failed'): number => results.reduce((sum, result) => sum + result[key], 0);
process.exitCode = failing.length > 0 || results.length === 0 ? 1 : 0;
console.log(`\n${total('passed')} passed, ${total('failed')} failed`);
