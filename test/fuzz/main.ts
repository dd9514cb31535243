/**
 * Throws mutated inputs at the parsers of the engine, for a bounded number of rounds.
 *
 *   test/run fuzz [rounds, 200000] [seed]
 *   test/run fuzz gguf [rounds, 1000000] [seed]     the reader of model files instead (gguf.ts)
 *
 * A round fails when anything but a coded error comes out, when the JSON reader and JSON.parse disagree, or when one
 * input takes longer than two seconds. The seed is printed; the same seed gives the same inputs.
 * @module
 */
import { KwyreError } from '../../src/base/errors.ts';
import { parseJson } from '../../src/engine/bytes/json-parser.ts';
import { parseChatRequest } from '../../src/engine/api/chat-request.ts';
import type { Message } from '../../src/engine/types.ts';
import { compileTemplate } from '../../src/template/template.ts';
import { Random, readRounds } from './random.ts';

if (process.argv[2] === 'gguf') {
  await import('./gguf.ts');
  process.exit();
}

const { rounds, seed } = readRounds(2, 200_000, 'test/run fuzz');
const { below, pick } = new Random(seed);

const bodySeeds = [
  '{"model":"guide","messages":[{"role":"system","content":"be brief"},{"role":"user","content":[{"type":"text","text":"caf\\u00e9 \\ud83d\\ude00"}]}],"stream":true,"stream_options":{"include_usage":true}}',
  '{"model":"guide","messages":[{"role":"user","content":"a\\n\\t\\"b\\\\"}],"temperature":0.7,"top_p":1,"top_k":40,"seed":-12,"stop":["a","b"],"logit_bias":{"12":-100,"7":1.5e1},"max_tokens":16,"n":1}',
  '{"messages":[{"role":"assistant","content":null,"tool_calls":[]},{"role":"tool","content":"","tool_call_id":"x"}],"model":"a\\/b","tools":[],"response_format":{"type":"text"},"metadata":{"k":[1,2,{"d":[]}]},"user":"\u{1f512}"}',
  '[1,-0.5e+10,true,false,null,"",{"a":{"a":{}}},[[[]]]]',
];
const bodyPieces = [
  '{',
  '}',
  '[',
  ']',
  '"',
  ':',
  ',',
  '\\',
  '\\u',
  '\\ud800',
  '\\udc00',
  'null',
  'true',
  '1e999',
  '-',
  '0',
  '"__proto__":',
  '"role":"user",',
  '"content":',
  '"stop":',
  '[[[[[[[[',
  '\u0000',
  '\ufeff',
  '\u{1f600}',
  ' ',
  '\n',
  '"type":"text"',
  '"temperature":',
].map((piece) => Buffer.from(piece));
const templateSeeds = [
  "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] | trim + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
  "{%- set ns = namespace(i=0, s='') -%}{%- for m in messages[::-1] if m.content is string -%}{%- set ns.i = ns.i + loop.index0 * 2 // 3 -%}{%- if '</think>' in m.content -%}{{ m.content.split('</think>')[-1].lstrip('\\n') }}{%- elif m.content.startswith('<') -%}{% continue %}{%- else -%}{{ m.content | upper }}{%- endif -%}{%- endfor -%}{{ ns.i }}",
  "{% macro say(x, y='a') %}{{ x ~ y }}{{ caller() if caller is defined }}{% endmacro %}{% call say(messages[0].content, y=none) %}in{% endcall %}{{ messages | tojson(indent=2) }}{{ messages | map(attribute='role') | join(', ') }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
  "{{ bos_token }}{% set c = messages[0].content %}{{ c[1:-1] }}{{ c.replace('a', c) }}{{ c | indent(2) }}{{ c | length }}{{ c == 'x' }}{{ {'k': c} | string }}{{ c.strip().split() | join('-') }}{{ range(10) | list }}{{ strftime_now('%Y') }}{{ raise_exception(c) if c == 'boom' }}",
];
const templatePieces = [
  '{{',
  '}}',
  '{%',
  '%}',
  '{#',
  '#}',
  ' for x in messages ',
  ' endfor ',
  ' if ',
  ' endif ',
  ' else ',
  ' in ',
  ' not ',
  ' is ',
  ' and ',
  "'",
  '"',
  '(',
  ')',
  '[',
  ']',
  '{',
  '}',
  '.',
  ',',
  '|',
  ' | trim',
  ' | tojson',
  ' | length',
  '.constructor',
  '.__proto__',
  ' range(99999999) ',
  ' ** 99',
  ' * 999999',
  '-',
  '~',
  '=',
  '%- set x = ',
  ' namespace(a=1) ',
  ' messages ',
  '\\x',
  'loop',
  '1',
  '[::-1]',
  '.split',
  '()',
].map((piece) => Buffer.from(piece));

/** Changes bytes, inserts pieces, removes, repeats and swaps ranges. */
function mutate(source: Buffer, pieces: readonly Buffer[]): Buffer {
  let bytes = source;
  for (let i = pick([0, 0, 0, 1, 2, 5]); i >= 0; i -= 1) {
    const at = below(bytes.length + 1);
    const to = Math.min(bytes.length, at + below(16));
    const [before, middle, after] = [bytes.subarray(0, at), bytes.subarray(at, to), bytes.subarray(to)];
    switch (below(24)) {
      case 0:
      case 5:
        bytes = Buffer.concat([before, after]);
        break;
      case 1:
        bytes = Buffer.concat([before, middle, middle, after]);
        break;
      case 2:
      case 6:
      case 7:
      case 8:
      case 9:
      case 10:
        bytes = Buffer.concat([before, Buffer.of(below(2) === 0 ? below(256) : 0x20 + below(95)), bytes.subarray(at)]);
        break;
      case 3:
      case 11:
      case 12:
      case 13:
        bytes = Buffer.from(bytes);
        if (bytes.length > 0) bytes[at % bytes.length]! ^= 1 << below(8);
        break;
      case 4:
        bytes = bytes.subarray(0, at);
        break;
      default:
        bytes = Buffer.concat([before, pick(pieces), bytes.subarray(at)]);
    }
  }
  return bytes.subarray(0, 8192);
}

type Outcome = 'taken' | 'refused';
function outcome(run: () => unknown): { outcome: Outcome; code: string } {
  try {
    run();
    return { outcome: 'taken', code: '' };
  } catch (error) {
    if (error instanceof KwyreError) return { outcome: 'refused', code: error.code };
    throw error;
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Whether JSON.parse takes it; `undefined` where this reader is stricter on purpose. */
function reference(bytes: Buffer): Outcome | undefined {
  let text: string;
  try {
    text = decoder.decode(bytes);
    JSON.parse(text);
  } catch {
    return 'refused';
  }
  return /\\u[dD][89a-fA-F]/.test(text) ? undefined : 'taken';
}

function fuzzBody(input: Buffer): Outcome {
  const json = outcome(() => parseJson(input));
  const stricter = json.code === 'REQUEST_JSON_DUPLICATE_KEY' || json.code === 'REQUEST_JSON_LIMIT';
  const wanted = reference(input);
  if (!stricter && wanted !== undefined && wanted !== json.outcome)
    throw new Error(`the reader says ${json.outcome}, JSON.parse ${wanted}`);
  return outcome(() => {
    parseChatRequest(input)[Symbol.dispose]();
  }).outcome;
}

function fuzzTemplate(input: Buffer): Outcome {
  const messages: Message[] = Array.from({ length: below(4) }, (_, i) => ({
    role: i % 2 === 0 ? 'user' : 'assistant',
    parts: [mutate(Buffer.from('some <think>\nwords</think> of a person'), templatePieces)],
  }));
  for (const message of messages) message.parts[0]!.forEach((byte, i, bytes) => (bytes[i] = byte & 0x7f));
  return outcome(() => {
    compileTemplate(input.toString(), { bos: '<s>', eos: '</s>' })
      .render(messages, { addGenerationPrompt: true })
      [Symbol.dispose]();
  }).outcome;
}

const kinds = [
  {
    name: 'request bodies',
    seeds: bodySeeds,
    pieces: bodyPieces,
    run: fuzzBody,
    share: 0.8,
    counts: { taken: 0, refused: 0 },
  },
  {
    name: 'chat templates',
    seeds: templateSeeds,
    pieces: templatePieces,
    run: fuzzTemplate,
    share: 0.2,
    counts: { taken: 0, refused: 0 },
  },
];
console.log(`seed ${seed}`);
const started = performance.now();
let slowest = 0;
for (let round = 0; round < rounds; round += 1) {
  const kind = below(1000) < kinds[0]!.share * 1000 ? kinds[0]! : kinds[1]!;
  const input = mutate(Buffer.from(pick(kind.seeds)), kind.pieces);
  const before = performance.now();
  try {
    kind.counts[kind.run(input)] += 1;
  } catch (error) {
    console.error(`round ${round} of seed ${seed}, ${kind.name}: ${JSON.stringify(input.toString('latin1'))}`);
    throw error;
  }
  const took = performance.now() - before;
  slowest = Math.max(slowest, took);
  if (took > 2000)
    throw new Error(
      `round ${round} of seed ${seed}, ${kind.name}, took ${took.toFixed(0)} ms: ${JSON.stringify(input.toString('latin1'))}`,
    );
}
const seconds = (performance.now() - started) / 1000;
console.log(
  `${rounds} rounds in ${seconds.toFixed(1)} s (${kinds.map((kind) => `${kind.name}: ${kind.counts.taken} taken, ${kind.counts.refused} refused`).join('; ')}; slowest input ${slowest.toFixed(0)} ms)`,
);
