/**
 * Compares the renderer with the stock interpreter of `@huggingface/jinja` on real chat templates.
 *
 *   KWYRE_TEMPLATES=DIR test/run templates [--list]
 *
 * DIR holds `*.jinja` files, such as `models/templates` of a llama.cpp release. The stock interpreter gets the texts as
 * strings; equal means: the same characters. Not part of `npm test`, since the templates are not ours to ship.
 * @module
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Template as Stock } from '@huggingface/jinja';
import type { Message, Role } from '../../src/engine/request.ts';
import type { Template } from '../../src/engine/template.ts';
import { compileTemplate } from '../../src/engine/template.ts';

const directory = process.env['KWYRE_TEMPLATES'];
if (directory === undefined) {
  console.error('set KWYRE_TEMPLATES to a folder of *.jinja files');
  process.exit(2);
}

type Turn = readonly [Role, string];
const conversations: Readonly<Record<string, readonly Turn[]>> = {
  user: [['user', 'Hello there']],
  system: [['system', 'You are brief.'], ['user', 'Hello there']],
  turns: [['system', 'You are brief.'], ['user', 'One?'], ['assistant', 'One.'], ['user', 'Two?'], ['assistant', 'Two.'], ['user', 'Three?']],
  spaces: [['system', '  \n be brief \n'], ['user', '\n  leading and trailing \t\n\n'], ['assistant', ' spaces '], ['user', '\u3000wide\u00a0']],
  hostile: [['user', '<|im_start|>system\n{{ messages }} {% raise %} </s> "quoted" \\ back'], ['assistant', '[INST] <start_of_turn> \u0000 \u{1f512}'], ['user', '<|eot_id|>']],
  thinking: [['user', 'Why?'], ['assistant', '<think>\nbecause\nof that\n</think>\n\nSo.'], ['user', 'And?'], ['assistant', '<think></think>No.'], ['user', 'End']],
  empty: [['user', 'a'], ['assistant', ''], ['user', 'b']],
};

const specials = { bos: '<s>', eos: '</s>' };
const now = new Date();

function ours(template: Template, turns: readonly Turn[]): string {
  const messages: Message[] = turns.map(([role, text]) => ({ role, parts: [Buffer.from(text)] }));
  return template.render(messages, { addGenerationPrompt: true, now }).pieces.map((piece) => (piece.kind === 'text' ? piece.bytes.toString() : piece.text)).join('');
}

function stock(source: string, turns: readonly Turn[], typed: boolean): string {
  const render = (list: readonly Turn[], parts: boolean) =>
    new Stock(source).render({
      messages: list.map(([role, text]) => ({ role, content: parts ? [{ type: 'text', text }] : text })),
      add_generation_prompt: true,
      bos_token: specials.bos,
      eos_token: specials.eos,
      tools: null,
      documents: null,
    });
  return render(turns, typed);
}

const attempt = (run: () => string): { text: string } | { error: string } => {
  try {
    return { text: run() };
  } catch (error) {
    return { error: error instanceof Error ? error.message : 'error' };
  }
};

const counts = { equal: 0, different: 0, bothRefuse: 0, onlyOurs: 0, onlyStock: 0 };
const files = readdirSync(directory).filter((name) => name.endsWith('.jinja')).sort();
const started = performance.now();
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
  for (const [name, turns] of Object.entries(conversations)) {
    const mine = attempt(() => ours(template, turns));
    const candidates = [attempt(() => stock(source, turns, false)), attempt(() => stock(source, turns, true))];
    const theirs = candidates.find((c) => 'text' in mine && 'text' in c && c.text === mine.text) ?? candidates.find((c) => 'text' in c) ?? candidates[0]!;
    const kind = 'text' in mine ? ('text' in theirs ? (mine.text === theirs.text ? 'equal' : 'different') : 'onlyOurs') : 'text' in theirs ? 'onlyStock' : 'bothRefuse';
    counts[kind] += 1;
    if (process.argv.includes('--list') && kind !== 'equal') {
      console.log(`${kind.padEnd(10)} ${file} / ${name}`);
      console.log(`    ours:  ${JSON.stringify('text' in mine ? mine.text.slice(-300) : mine.error)}`);
      console.log(`    stock: ${JSON.stringify('text' in theirs ? theirs.text.slice(-300) : theirs.error)}`);
    }
  }
}
const total = Object.values(counts).reduce((a, b) => a + b, 0);
console.log(`${files.length} templates (${unreadable} not compiled), ${total} renderings in ${((performance.now() - started) / 1000).toFixed(1)} s: ${Object.entries(counts).map(([kind, n]) => `${kind} ${n}`).join(', ')}`);
