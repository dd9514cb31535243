/**
 * Runs test files side by side and prints one report: the output of every file that failed, the ten slowest files, and
 * last the plain line `N passed, N failed`.
 *
 * Unit tests of one folder share a process, in which they run one after another. A file whose head says ` * Runs in a
 * process of its own` does not. Every attack and end-to-end file has its own process.
 *
 * Root gives each of those its own process, network and mount namespaces (`unshare`): no test sees another's debuggers,
 * captures or servers, and the kernel ends whatever a test leaves behind. Where that is not possible (an ordinary user,
 * some containers) they run one after another, because a server under test counts every debugger that it sees.
 *
 *   node test/suite/main.ts [--jobs N] FILE...
 * @module
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir, totalmem } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { strippedRoot } from '../support/stripped.ts';
import type { FileCount } from './per-file.ts';
import { slowFirst } from './slow.ts';

const root = join(import.meta.dirname, '..', '..');
const { values, positionals } = parseArgs({ allowPositionals: true, options: { jobs: { type: 'string' } } });
/** A third of the files wait for something at any time; each needs up to a gigabyte. */
const sensible = Math.max(2, Math.min(Math.ceil(1.5 * availableParallelism()), Math.floor(totalmem() / 2 ** 30)));
const jobs = values.jobs === undefined ? sensible : Number(values.jobs);
if (!Number.isSafeInteger(jobs) || jobs < 1) throw new Error('--jobs takes a whole number from 1');

/** Files that one process runs, one after another. */
type Group = { readonly name: string; readonly files: readonly string[]; readonly unit: boolean };
/** What one file came to. */
type Result = { readonly file: string } & Readonly<FileCount>;

const lastPid = '/proc/sys/kernel/ns_last_pid';
/**
 * A file's first process: loopback up, and process ids that no sibling namespace uses (a transient user is named after
 * one). The shell stays, as the process that reaps orphans: a zombie keeps its keys and its user.
 */
const inside = `ip link set lo up; echo "$1" > ${lastPid}; shift; "$@"; exit $?`;

const namespaces = ['--pid', '--fork', '--kill-child', '--mount-proc', '--net', '--mount', '--propagation', 'private'];
/** Whether files get namespaces of their own: root may, except in a container that forbids it. */
const separate = process.getuid?.() === 0 && spawnSync('unshare', [...namespaces, 'true']).status === 0;

/** Where each process writes its counts. */
const counts = mkdtempSync(join(tmpdir(), 'kwyre-suite-'));
const running = new Set<ReturnType<typeof spawn>>();
process.once('exit', () => rmSync(counts, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => {
    // unshare(1) passes SIGTERM on to nobody; when it is killed, the kernel ends its whole namespace.
    for (const child of running) child.kill(separate ? 'SIGKILL' : 'SIGTERM');
    process.exit(1);
  });
}

function needsOwnProcess(file: string): boolean {
  return /^ \*.*Runs in a process of its own/m.test(readFileSync(join(root, file), 'utf8'));
}

/** The files as groups, the slowest first: none of them is alone at the end. */
function groupsOf(files: readonly string[]): Group[] {
  const groups = new Map<string, string[]>();
  for (const file of files) {
    const shares = file.startsWith('test/unit/') && !needsOwnProcess(file);
    const name = shares ? dirname(file) : file;
    groups.set(name, [...(groups.get(name) ?? []), file]);
  }
  const rank = (name: string): number => (slowFirst.includes(name) ? slowFirst.indexOf(name) : slowFirst.length);
  return [...groups]
    .map(([name, members]) => ({ name, files: members, unit: name.startsWith('test/unit') }))
    .sort((a, b) => rank(a.name) - rank(b.name) || a.name.localeCompare(b.name));
}

/** The command that runs a group. Unit tests need no namespaces: they start no server. */
function command({ files, unit }: Group, index: number): string[] {
  const node = [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    '--test',
    '--test-timeout=600000',
    '--test-reporter=./test/support/reporter.ts',
    '--test-reporter-destination=stdout',
    '--test-reporter=./test/suite/per-file.ts',
    `--test-reporter-destination=${join(counts, String(index))}`,
    ...(unit ? ['--test-isolation=none'] : []),
    ...files,
  ];
  if (!separate || unit) return node;
  return ['unshare', ...namespaces, 'sh', '-c', inside, 'sh', String(400 + ((index * 250) % 30_000)), ...node];
}

/**
 * The counts that a process wrote, by file; nothing when it did not get that far. A test that a support file defines for
 * several test files counts for the one that runs; where files share a process, it counts for the support file.
 */
function countsOf(index: number, group: Group): Record<string, FileCount> {
  try {
    const written = JSON.parse(readFileSync(join(counts, String(index)), 'utf8')) as Record<string, FileCount>;
    const [only, ...more] = group.files;
    if (only === undefined || more.length > 0)
      return Object.fromEntries(Object.entries(written).map(([file, count]) => [relative(root, file), count]));
    const sum = { passed: 0, failed: 0, seconds: 0 };
    for (const count of Object.values(written))
      for (const key of ['passed', 'failed', 'seconds'] as const) sum[key] += count[key];
    return { [only]: sum };
  } catch {
    return {};
  }
}

/** Runs one group and prints what it came to; a failing one's whole output. */
async function run(group: Group, index: number): Promise<Result[]> {
  const started = performance.now();
  const [program = '', ...args] = command(group, index);
  const env = { ...process.env, KWYRE_STRIPPED: strippedRoot() };
  const child = spawn(program, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  const chunks: Buffer[] = [];
  for (const pipe of [child.stdout, child.stderr]) pipe.on('data', (chunk: Buffer) => chunks.push(chunk));
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) =>
    child.once('close', (...ending) => {
      resolve(ending);
    }),
  );
  running.delete(child);
  const counted = countsOf(index, group);
  const seconds = (performance.now() - started) / 1000;
  const results = [...new Set([...group.files, ...Object.keys(counted)])].map((file): Result => {
    const { passed, failed, seconds: own } = counted[file] ?? { passed: 0, failed: 0, seconds: 0 };
    // A file without a test that ran counts as one failure.
    return {
      file,
      passed,
      failed: passed + failed === 0 ? 1 : failed,
      seconds: group.files.length === 1 ? seconds : own,
    };
  });
  const failures = results.reduce((sum, { failed }) => sum + failed, 0);
  // So does a process that failed without a failed test.
  if (code !== 0 && failures === 0) results.push({ file: group.name, passed: 0, failed: 1, seconds: 0 });
  const failed = code !== 0 || failures > 0;
  const passed = results.reduce((sum, result) => sum + result.passed, 0);
  const note = code === 0 ? '' : `the process ended with ${signal ?? `exit code ${code ?? 0}`}\n`;
  const size = group.files.length === 1 ? '' : `${group.files.length} files, `;
  process.stdout.write(
    `${failed ? 'FAILED' : 'ok'} ${group.name} (${size}${passed} passed, ${results.reduce((sum, result) => sum + result.failed, 0)} failed, ${seconds.toFixed(1)} s)\n${failed ? Buffer.concat(chunks).toString() : ''}${failed ? note : ''}`,
  );
  return results;
}

/** Runs a queue of groups, `width` at a time. */
async function drain(queue: Group[], width: number): Promise<Result[]> {
  const results: Result[] = [];
  const worker = async (): Promise<void> => {
    for (let group = queue.shift(); group !== undefined; group = queue.shift())
      results.push(...(await run(group, next++)));
  };
  await Promise.all(Array.from({ length: width }, worker));
  return results;
}

let next = 0;
const groups = groupsOf(positionals.map((file) => relative(root, file)));
const alone = separate ? [] : groups.filter(({ unit }) => !unit);
const results = [
  ...(await drain(
    groups.filter((group) => !alone.includes(group)),
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
