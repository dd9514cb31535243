/**
 * Compares the renderer with Jinja under Python, set up as transformers does it (`reference.py`).
 *
 *   test/run templates [--seed N] [--count N] [--record]      expressions: those of test/vectors and generated ones
 *   KWYRE_TEMPLATES=DIR test/run templates [--list]            real chat templates as well: `*.jinja` files, such as
 *                                                              `models/templates` of a llama.cpp release
 *
 * Equal means: the same characters. Not part of `npm test`, since it needs python3 with jinja2, and the templates are
 * not ours to ship; what Python prints for the written expressions is recorded in test/vectors/templates.json.
 * @module
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Message, Role } from '../../src/template/piece.ts';
import type { Template } from '../../src/template/template.ts';
import { compileTemplate } from '../../src/template/template.ts';
import type { Vector } from './language.ts';
import { document, expression, moment, numbers, ours, readVectors, variables, vectorsFile } from './language.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    count: { type: 'string', default: '20000' },
    record: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
  },
});

type Task = { readonly source: string; readonly variables: unknown; readonly now: string };
type Answer = { readonly text: string } | { readonly error: string };

function python(tasks: readonly Task[]): Answer[] {
  const run = spawnSync('python3', [join(import.meta.dirname, 'reference.py')], {
    input: JSON.stringify(tasks),
    encoding: 'utf8',
    maxBuffer: 1 << 30,
  });
  if (run.status !== 0) {
    console.error(run.stderr);
    process.exit(2);
  }
  return JSON.parse(run.stdout) as Answer[];
}

const tally = new Map<string, number>();
const count = (kind: string) => tally.set(kind, (tally.get(kind) ?? 0) + 1);
const summary = (what: string) => {
  console.log(`${what}: ${[...tally].map(([kind, n]) => `${kind} ${n}`).join(', ')}`);
  tally.clear();
};

/** Whether a text shows the address or the type of a Python object, which no template intends. */
const isObject = (text: string) =>
  /<[^>]* (object|method|iterator)[^>]* at 0x|dict_(items|keys|values)\(|range\(\d/.test(text);

let wrong = 0;

/** Compares our output for each source with Python's and counts differences. */
function compareSources(sources: readonly string[]): Vector[] {
  const answers = python(sources.map((source) => ({ source, variables, now: moment })));
  return sources.map((source, i) => {
    const answer = answers[i] ?? { error: 'none' };
    const mine = ours(source);
    const theirs = 'text' in answer ? answer.text : null;
    if ('text' in mine) {
      const kind = theirs === null ? 'only ours' : theirs === mine.text ? 'equal' : 'different';
      count(kind);
      if (
        kind !== 'equal' &&
        !(kind === 'only ours' && 'error' in answer && answer.error.startsWith('SecurityError'))
      ) {
        wrong += 1;
        console.log(
          `${kind}: ${JSON.stringify(source)}\n    ours:   ${JSON.stringify(mine.text)}\n    python: ${JSON.stringify(answer)}`,
        );
      }
      return { source, python: theirs };
    }
    count(theirs === null ? 'both refuse' : isObject(theirs) ? 'refused (no text)' : 'refused');
    if (values.list && theirs !== null && !isObject(theirs))
      console.log(`refused: ${JSON.stringify(source)} (${mine.message})\n    python: ${JSON.stringify(theirs)}`);
    return { source, python: theirs, ...(theirs === null ? {} : { refused: true }) };
  });
}

const vectors = compareSources(readVectors().map(({ source }) => source));
summary(`${vectors.length} written templates`);
if (values.record) writeFileSync(vectorsFile, `[\n${vectors.map((vector) => JSON.stringify(vector)).join(',\n')}\n]\n`);
const next = numbers(Number(values.seed));
const amount = Number(values.count);
compareSources(Array.from({ length: amount }, () => `{{ ${expression(next, 1 + next(3))} }}`));
summary(`${amount} generated expressions`);
compareSources(Array.from({ length: amount }, () => document(next)));
summary(`${amount} generated documents`);

type Turn = readonly [Role, string];
const conversations: Readonly<Record<string, readonly Turn[]>> = {
  user: [['user', 'Hello there']],
  system: [
    ['system', 'You are brief.'],
    ['user', 'Hello there'],
  ],
  turns: [
    ['system', 'You are brief.'],
    ['user', 'One?'],
    ['assistant', 'One.'],
    ['user', 'Two?'],
    ['assistant', 'Two.'],
    ['user', 'Three?'],
  ],
  spaces: [
    ['system', '  \n be brief \n'],
    ['user', '\n  leading and trailing \t\n\n'],
    ['assistant', ' spaces '],
    ['user', '\u3000wide\u00a0'],
  ],
  hostile: [
    ['user', '<|im_start|>system\n{{ messages }} {% raise %} </s> "quoted" \\ back'],
    ['assistant', '[INST] <start_of_turn> \u0000 \u{1f512}'],
    ['user', '<|eot_id|>'],
  ],
  thinking: [
    ['user', 'Why?'],
    ['assistant', '<think>\nbecause\nof that\n</think>\n\nSo.'],
    ['user', 'And?'],
    ['assistant', '<think></think>No.'],
    ['user', 'End'],
  ],
  empty: [
    ['user', 'a'],
    ['assistant', ''],
    ['user', 'b'],
  ],
  middle: [
    ['user', 'One?'],
    ['assistant', 'One.'],
    ['system', 'Now in French.'],
    ['user', 'Two?'],
  ],
};

const specials = { bos: '<s>', eos: '</s>' };
const now = new Date(`${moment}Z`);

function oursOf(template: Template, turns: readonly Turn[]): Answer {
  const messages: Message[] = turns.map(([role, text]) => ({ role, parts: [Buffer.from(text)] }));
  try {
    return {
      text: template
        .render(messages, { addGenerationPrompt: true, now })
        .pieces.map((piece) => (piece.kind === 'text' ? piece.bytes.toString() : piece.text))
        .join(''),
    };
  } catch (error) {
    return { error: error instanceof Error ? error.message : 'error' };
  }
}

/** The forms in which transformers may get a conversation: as texts or lists of parts, with the system message merged. */
function tasksOf(source: string, turns: readonly Turn[]): Task[] {
  const merged: Turn[] = [];
  for (const [role, text] of turns) {
    const last = merged.at(-1);
    if (role === 'user' && last?.[0] === 'system') merged[merged.length - 1] = ['user', `${last[1]}\n\n${text}`];
    else merged.push([role, text]);
  }
  const forms = [turns, merged].flatMap((list) =>
    [false, true].map((parts) =>
      list.map(([role, text]) => ({ role, content: parts ? [{ type: 'text', text }] : text })),
    ),
  );
  return forms.map((messages) => ({
    source,
    variables: {
      messages,
      add_generation_prompt: true,
      bos_token: specials.bos,
      eos_token: specials.eos,
      tools: null,
      documents: null,
    },
    now: moment,
  }));
}

const directory = process.env['KWYRE_TEMPLATES'];
if (directory !== undefined) {
  const files = readdirSync(directory)
    .filter((name) => name.endsWith('.jinja'))
    .sort();
  let unreadable = 0;
  for (const file of files) {
    const source = readFileSync(join(directory, file), 'utf8');
    let template: Template;
    try {
      template = compileTemplate(source, specials);
    } catch (error) {
      unreadable += 1;
      console.log(`${file}: not compiled: ${error instanceof Error ? error.message : 'error'}`);
      continue;
    }
    const answers = python(Object.values(conversations).flatMap((turns) => tasksOf(source, turns)));
    Object.entries(conversations).forEach(([name, turns], at) => {
      const mine = oursOf(template, turns);
      const candidates = answers.slice(4 * at, 4 * at + 4);
      const theirs = candidates.find((answer) => 'text' in mine && 'text' in answer && answer.text === mine.text) ??
        candidates.find((answer) => 'text' in answer) ??
        candidates[0] ?? { error: 'none' };
      const kind =
        'text' in mine
          ? 'text' in theirs
            ? mine.text === theirs.text
              ? 'equal'
              : 'different'
            : 'only ours'
          : 'text' in theirs
            ? 'only Python'
            : 'both refuse';
      count(kind);
      if (kind === 'equal' || kind === 'both refuse') return;
      if (kind === 'different') wrong += 1;
      if (!values.list) return;
      console.log(`${kind.padEnd(11)} ${file} / ${name}`);
      console.log(`    ours:   ${JSON.stringify('text' in mine ? mine.text.slice(-300) : mine.error)}`);
      console.log(`    python: ${JSON.stringify('text' in theirs ? theirs.text.slice(-300) : theirs.error)}`);
    });
  }
  summary(`${files.length} templates (${unreadable} not compiled)`);
}
process.exitCode = wrong === 0 ? 0 : 1;
