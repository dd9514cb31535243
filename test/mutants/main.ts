/**
 * Takes away every row of every policy and every listed protection, one at a time and in a copy of the repository, and
 * runs the tests that should notice. What no test notices survives, and is printed.
 *
 *   test/run mutants [--only TEXT] [--limit N] [--jobs N] [--minutes N] [--state FILE] [--list]
 *
 * `--only` takes mutants whose description or kind has the text. A run resumes where the last one stopped: what is
 * known stands in the state file (in the folder for temporary files unless named), one JSON line a mutant. Exit code 1
 * when anything survived. Needs root, as the attacks do.
 * @module
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { allProtections } from './protections.ts';
import type { Mutant } from './rows.ts';
import { allRows } from './rows.ts';
import type { Tests } from './tests.ts';
import { testsOf } from './tests.ts';

const root = join(import.meta.dirname, '..', '..');
const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    limit: { type: 'string' },
    jobs: { type: 'string' },
    minutes: { type: 'string' },
    state: { type: 'string' },
    list: { type: 'boolean' },
  },
});
const statePath =
  values.state ?? join(tmpdir(), `kwyre-mutants-${createHash('sha256').update(root).digest('hex').slice(0, 8)}.jsonl`);
const limitMs = 150_000;

type Fate = { readonly id: string; readonly what: string; readonly fate: 'killed' | 'survived'; readonly how: string };

/** A copy that everything runs in: what is tested is copied, what only runs the tests is linked. */
function copyRepository(): string {
  const path = mkdtempSync(join(tmpdir(), 'kwyre-mutants-'));
  for (const name of readdirSync(root))
    if (!['.git', '.stripped', 'dist', 'test'].includes(name))
      spawnSync('cp', ['-a', '--reflink=auto', join(root, name), join(path, name)]);
  spawnSync('mkdir', [join(path, 'test')]);
  for (const name of readdirSync(join(root, 'test'))) {
    if (name === 'node_modules') symlinkSync(join(root, 'test', name), join(path, 'test', name));
    else spawnSync('cp', ['-a', '--reflink=auto', join(root, 'test', name), join(path, 'test', name)]);
  }
  spawnSync('chmod', ['755', path]);
  return path;
}

/** Runs one test file of the copy: `undefined` when it passes, else how it failed. */
async function run(copy: string, [file, names]: Tests): Promise<string | undefined> {
  const pattern = names === undefined ? [] : [`--test-name-pattern=${names}`];
  // An ordinary user's server cannot make `dist` of root's sources: it would not start, and every mutant would seem
  // killed.
  const made = spawnSync(join(copy, 'kwyre'), ['--version'], { cwd: copy, encoding: 'utf8', timeout: limitMs });
  if (made.status !== 0) return `${file}: does not start: ${made.stderr.trim().slice(0, 120)}`;
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--test-reporter=tap', ...pattern, join(copy, file)],
    { cwd: copy, stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env['PATH'], HOME: process.env['HOME'] } },
  );
  let output = '';
  for (const pipe of [child.stdout, child.stderr])
    pipe.on('data', (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-400_000);
    });
  const late = setTimeout(() => child.kill('SIGKILL'), limitMs);
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  clearTimeout(late);
  // A pattern that names no test would pass for ever.
  if (code === 0) return /^ok \d+ - /m.test(output) ? undefined : `${file}: no test of that name ran`;
  const name = /^not ok \d+ - (.*)$/m.exec(output.replace(/^ok .*$/gm, ''))?.[1] ?? 'it ended';
  const how =
    code === null
      ? 'timed out'
      : /SyntaxError|ReferenceError|does not provide an export/.test(output)
        ? 'is not loaded'
        : /L2_FEATURE_MISSING|cannot be confined|ended while starting|START_FAILED|START_TIMEOUT/.test(output)
          ? 'does not start'
          : 'fails';
  return `${file}${names === undefined ? '' : ` (${names})`}: ${how}: ${name.slice(0, 120)}`;
}

const known = new Map<string, Fate>();
if (existsSync(statePath))
  for (const line of readFileSync(statePath, 'utf8').split('\n'))
    if (line !== '') {
      const fate = JSON.parse(line) as Fate;
      known.set(fate.id, fate);
    }
const only = values.only;
const every = [...allProtections(root), ...allRows(root)];
const homeless = every.filter(({ kind }) => testsOf[kind] === undefined);
if (homeless.length > 0)
  throw new Error(
    `no tests are named for:\n${homeless.map(({ what, kind }) => `  ${kind}: ${what}`).join('\n')}\n  put their kind into test/mutants/rows.ts and tests.ts`,
  );
const chosen = every.filter(({ what, kind }) => only === undefined || what.includes(only) || kind === only);
if (values.list === true) {
  for (const { id, kind, what } of chosen)
    console.log(`${id} ${known.get(id)?.fate ?? 'open    '} ${kind.padEnd(12)} ${what}`);
  process.exit();
}
const todo = chosen.filter(({ id }) => !known.has(id)).slice(0, Number(values.limit ?? Infinity));
const endAt = performance.now() + 60_000 * Number(values.minutes ?? Infinity);
console.log(
  `${every.length} mutants, ${chosen.length} chosen, ${chosen.length - todo.length} known or left for later; state: ${statePath}`,
);

/** Files that pass unchanged, by copy: where they do not, every mutant would seem killed. */
const sound = new Map<string, Promise<string | undefined>>();

async function assertSound(copy: string, one: Tests): Promise<void> {
  const key = one.join(' ');
  const base = sound.get(key) ?? run(copy, one);
  sound.set(key, base);
  const fault = await base;
  if (fault !== undefined) throw new Error(`the test fails without any change, and would kill everything: ${fault}`);
}

/** Runs one after another of the tests that should notice, until one does. */
async function judge(copy: string, mutant: Mutant): Promise<Fate> {
  const path = join(copy, mutant.file);
  const text = readFileSync(path, 'utf8');
  if (text.slice(mutant.at, mutant.at + mutant.text.length) !== mutant.text)
    throw new Error(`${mutant.file} does not say at ${mutant.at}: ${mutant.text}`);
  const tests = testsOf[mutant.kind] ?? [];
  for (const one of tests) {
    await assertSound(copy, one);
    writeFileSync(path, text.slice(0, mutant.at) + mutant.instead + text.slice(mutant.at + mutant.text.length));
    try {
      const how = await run(copy, one);
      if (how !== undefined) return { id: mutant.id, what: mutant.what, fate: 'killed', how };
    } finally {
      writeFileSync(path, text);
    }
  }
  return {
    id: mutant.id,
    what: mutant.what,
    fate: 'survived',
    how: `${tests.map(([file]) => file).join(', ')} passed`,
  };
}

const copies: string[] = [];
process.once('exit', () => {
  for (const copy of copies) rmSync(copy, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
let next = 0;
await Promise.all(
  Array.from({ length: Math.min(Number(values.jobs ?? 1), todo.length) }, async () => {
    const copy = copyRepository();
    copies.push(copy);
    for (let mutant = todo[next++]; mutant !== undefined && performance.now() < endAt; mutant = todo[next++]) {
      const fate = await judge(copy, mutant);
      known.set(fate.id, fate);
      appendFileSync(statePath, `${JSON.stringify(fate)}\n`);
      console.log(`${fate.fate.padEnd(8)} ${fate.what}\n         ${fate.how}`);
    }
  }),
);
const fates = chosen.map(({ id }) => known.get(id)).filter((fate) => fate !== undefined);
const survivors = fates.filter(({ fate }) => fate === 'survived');
const unstarted = fates.filter(
  ({ fate, how }) => fate === 'killed' && /: (does not start|is not loaded): /.test(how),
).length;
console.log(
  `\n${fates.length} of ${chosen.length} judged: ${fates.length - survivors.length} killed (${unstarted} of them because nothing starts any more), ${survivors.length} survived`,
);
for (const { what } of survivors) console.log(`  survived: ${what}`);
process.exitCode = survivors.length > 0 ? 1 : 0;
