/**
 * Layer 4: hostile content of a model that somebody might approve: header, template, vocabulary; and what a request or
 * an archive might smuggle in.
 * @module
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { approve, kwyre, makeState } from '../support/approved.ts';
import type { Model, Value } from '../support/gguf.ts';
import { llamaModel, random, tensorData, tinyShape, withMetadata, writeFile, writeModel } from '../support/gguf.ts';
import type { Server } from '../support/server.ts';
import { call, launch, root, startServer, until } from '../support/server.ts';
import { makeTree } from '../support/trees.ts';
import { assertWithin } from '../support/time-bounds.ts';

const folder = makeTree({});
const state = makeState();
after(() => {
  folder[Symbol.dispose]();
  state[Symbol.dispose]();
});
const at = (name: string) => join(folder.path, name);

function write(name: string, model: Model): string {
  const next = random(1);
  writeFile(at(name), model, (tensor) => tensorData(tensor, next));
  return at(name);
}
const changed = (changes: Readonly<Record<string, Value | undefined>>) => withMetadata(llamaModel(tinyShape), changes);
const add = (path: string, ...args: string[]) => kwyre(['model', 'add', path, '--yes', '--state', state.path, ...args]);

async function ask(
  server: Server,
  more: object = {},
): Promise<{ status: number; code: string | undefined; text: string }> {
  const response = await call(server, '/v1/chat/completions', {
    model: 'default',
    messages: [{ role: 'user', content: 'hello' }],
    max_tokens: 4,
    ...more,
  });
  const text = await response.text();
  return { status: response.status, code: (JSON.parse(text) as { error?: { code: string } }).error?.code, text };
}

test('L4-15, L4-16, L4-17, L4-19, L4-20: a header that lies is refused before native code sees it', () => {
  const sound = fs.readFileSync(write('sound.gguf', llamaModel(tinyShape)));
  const patched = (name: string, offset: number, value: bigint) => {
    const copy = Buffer.from(sound);
    copy.writeBigUInt64LE(value, offset);
    fs.writeFileSync(at(name), copy);
    return at(name);
  };
  const hostile = [
    ...[2n ** 63n, 2n ** 32n, 60_000n].flatMap((value) =>
      [8, 16].map((offset) => patched(`count-${value}-${offset}.gguf`, offset, value)),
    ),
    write('alignment.gguf', changed({ 'general.alignment': { u32: 3 } })),
    write('alignment-zero.gguf', changed({ 'general.alignment': { u32: 0 } })),
    write('heads.gguf', changed({ 'llama.attention.head_count': { u32: 0 } })),
    write('layers.gguf', changed({ 'llama.block_count': { u32: 2 ** 32 - 1 } })),
    write('architecture.gguf', changed({ 'general.architecture': undefined })),
    write('tokens.gguf', changed({ 'tokenizer.ggml.tokens': { texts: [] } })),
  ];
  fs.writeFileSync(at('short.gguf'), sound.subarray(0, sound.length - 4096));
  hostile.push(at('short.gguf'));
  for (const path of hostile) {
    const { code, output } = add(path, '--name', 'hostile');
    assert.equal(code, 14, `${path}\n${output}`);
    assert.match(output, /next: /);
  }
});

/** A vocabulary whose tokens stand for bytes by name, as SentencePiece writes them, with some of other names. */
function byteVocabulary(odd: Readonly<Record<number, string | undefined>>): Model {
  const hex = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
  const texts = [
    '<unk>',
    '<s>',
    '</s>',
    ...Array.from({ length: 256 }, (_, byte) => (Object.hasOwn(odd, byte) ? (odd[byte] ?? 'no byte') : hex(byte))),
  ];
  const scores = Buffer.alloc(16 + 4 * texts.length);
  scores.writeUInt32LE(9, 0);
  scores.writeUInt32LE(6, 4);
  scores.writeBigUInt64LE(BigInt(texts.length), 8);
  const token = (id: number): Value => ({ u32: id });
  return changed({
    'tokenizer.ggml.model': { text: 'llama' },
    'tokenizer.ggml.pre': undefined,
    'tokenizer.ggml.merges': undefined,
    'tokenizer.ggml.tokens': { texts },
    'tokenizer.ggml.scores': { raw: scores },
    'tokenizer.ggml.token_type': {
      i32s: texts.map((name, id) => (id === 0 ? 2 : id < 3 ? 3 : name === 'no byte' ? 1 : 6)),
    },
    'tokenizer.ggml.unknown_token_id': token(0),
    'tokenizer.ggml.bos_token_id': token(1),
    'tokenizer.ggml.eos_token_id': token(2),
  });
}

test('L4-18: a vocabulary of bytes is approved, and answers whatever bytes it is asked and makes', async () => {
  const { code, output } = add(write('bytes.gguf', byteVocabulary({})), '--name', 'bytes');
  assert.equal(code, 0, output);
  const server = await startServer({ state: state.path, args: ['--model', 'bytes'] });
  try {
    for (let i = 0; i < 8; i += 1) {
      const { status, text } = await ask(server, {
        seed: i,
        temperature: 2,
        max_tokens: 64,
        messages: [{ role: 'user', content: 'h\u00e9 \u{1f600} \u0001' }],
      });
      assert.equal(status, 200, text);
    }
  } finally {
    assert.equal((await server.stop()).code, 0, server.output());
  }
});

// The first and the last one ended the engine at an answer or at a request before they were refused here.
for (const [what, odd, words] of [
  ['names beyond a byte', { 0x81: '<0xFFFFFFFF>' }, /the name of a byte token is not a byte/],
  ['a negative byte', { 0x80: '<0x-1>' }, /the name of a byte token is not a byte/],
  ['a name cut off', { 0x80: '<0x' }, /the name of a byte token is not a byte/],
  ['no hexadecimal digits', { 0x80: '<0xZZ>' }, /the name of a byte token is not a byte/],
  ['a token longer than 4 KiB', { 0x80: 'x'.repeat(4097) }, /the length of a token exceeds the limit of 4096/],
  ['the same token twice', { 0x80: '<0x41>' }, /its vocabulary contains a token twice/],
  ['no token for a byte that a text may hold', { 0xc3: undefined }, /no token for the byte <0xC3>/],
] as const) {
  test(`L4-18: ${what}: refused before native code sees it`, () => {
    const { code, output } = add(write('odd.gguf', byteVocabulary(odd)), '--name', 'odd');
    assert.equal(code, 14, output);
    assert.match(output, words);
  });
}

test("L4-11: the template's digest is shown, what is odd in it too; another template is another model", async () => {
  const path = write(
    'template.gguf',
    changed({
      'tokenizer.chat_template': {
        text: "{% if 'bomb' in messages[0].content %}https://evil.example/?q={% endif %}{% for m in messages %}{{ m.content }}{% endfor %}",
      },
    }),
  );
  const { code, output } = add(path, '--name', 'template');
  assert.equal(code, 0, output);
  const shown = kwyre(['model', 'add', path, '--name', 'template', '--yes', '--json', '--state', state.path]);
  const facts = JSON.parse(shown.output) as { template: string; unusual: string[] };
  assert.match(facts.template, /^[0-9a-f]{64}$/);
  assert.ok(
    facts.unusual.some((line) => /web address/.test(line)),
    shown.output,
  );
  write(
    'template.gguf',
    changed({ 'tokenizer.chat_template': { text: '{% for m in messages %}{{ m.content }} {% endfor %}' } }),
  );
  const refused = launch({ state: state.path, args: ['--model', 'template'] });
  assert.equal((await refused.ended).code, 14, refused.output());
});

test('L4-12, L4-13: a template that reaches for the host or never ends costs one coded error, not the server', async (t) => {
  for (const [name, source] of [
    ['host', "{{ ''.constructor.constructor('return process')().exit(1) }}"],
    [
      'names',
      '{{ messages.__proto__.polluted }}{{ process.env }}{{ globalThis }}{{ self._TemplateReference__context }}',
    ],
    ['loop', '{% for a in range(99999999) %}{% for b in range(99999999) %}{{ a }}{% endfor %}{% endfor %}'],
    [
      'grow',
      '{% set ns = namespace(x="aaaaaaaaaaaaaaaa") %}{% for a in range(64) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}',
    ],
    ['recursion', '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}'],
  ] as const) {
    // As it is, no approval: a trial conversation is rendered first. What waits for its moment is bounded then.
    const bare = add(write(`${name}.gguf`, changed({ 'tokenizer.chat_template': { text: source } })), '--name', name);
    assert.equal(bare.code, 14, `${name}: ${bare.output}`);
    assert.match(bare.output, /chat template of the model cannot be used/);
    const waiting = `{% if messages[0].content == 'hello' %}${source}{% else %}{% for m in messages %}{{ m.content }}{% endfor %}{% endif %}`;
    approve(state.path, write(`${name}.gguf`, changed({ 'tokenizer.chat_template': { text: waiting } })), name);
    const started = launch({ state: state.path, args: ['--model', name] });
    t.after(() => {
      started.process.kill('SIGKILL');
    });
    const ended = await Promise.race([
      started.ended,
      until('the server', () => started.output().includes('(ready in'), 60_000).then(
        () => undefined,
        () => undefined,
      ),
    ]);
    if (ended !== undefined) {
      assert.match(started.output(), /template/, `${name}: refused at the start, saying why\n${started.output()}`);
      assert.notEqual(ended.code, 0);
      continue;
    }
    const port = /127\.0\.0\.1:(\d+) \(ready/.exec(started.output())![1]!;
    const server = {
      url: `http://127.0.0.1:${port}`,
      token: fs.readFileSync(join(state.path, 'token'), 'utf8').trim(),
    } as Server;
    const from = performance.now();
    const { status, code, text } = await ask(server);
    assert.ok(status >= 400, `${name}: ${status} ${text}`);
    assert.match(code!, /template/i, text);
    assert.ok(!text.includes('hello'), 'nothing is echoed');
    assertWithin(`the refusal of ${name}`, performance.now() - from, 10_000);
    assert.equal((await call(server, '/v1/models')).status, 200, `${name}: the server lives`);
    started.process.kill('SIGTERM');
    assert.equal((await started.ended).code, 0);
  }
});

test('what is approved is shown first: architecture, quantisation, tokenizer, in words and for programs', () => {
  const path = write('shown.gguf', llamaModel({ ...tinyShape, type: 2 }));
  const { code, output } = add(path, '--name', 'shown');
  assert.equal(code, 0, output);
  assert.match(output, /^quantised +Q4_0 99 %, F32 under 1 %$/m);
  assert.match(output, /^tokenizer +gpt2, vocabulary 259$/m);
  const { architecture, quantisation, tokenizer, vocabulary, context } = JSON.parse(
    add(path, '--name', 'shown', '--json').output,
  ) as Record<string, unknown>;
  assert.deepEqual(
    { architecture, quantisation, tokenizer, vocabulary, context },
    {
      architecture: 'llama',
      quantisation: 'Q4_0 99 %, F32 under 1 %',
      tokenizer: 'gpt2',
      vocabulary: 259,
      context: 1024,
    },
  );
});

test('L4-05: JSON beside a model that is none is refused, and named', () => {
  for (const [bytes, words] of [
    ['{"a":1', /is not JSON/],
    ['{} trailing', /is not JSON/],
    ['', /is not JSON/],
    ['"text"', /neither an object nor a list/],
    ['{"a":"\xff"}', /is not UTF-8 text/],
  ] as const) {
    using model = makeTree({ 'sub/tokenizer_config.json': Buffer.from(bytes, 'latin1'), 'config.json': '{}' });
    writeModel(join(model.path, 'tiny.gguf'), tinyShape);
    const { code, output } = add(model.path, '--name', 'json');
    assert.equal(code, 14, output);
    assert.match(output, words);
    assert.match(output, /sub\/tokenizer_config\.json beside the model/);
    assert.match(output, /next: download the file again/);
  }
});

test('L4-14, L4-21: a request brings no template, no arguments for one, and no image', async () => {
  const server = await startServer();
  try {
    for (const more of [
      { chat_template: '{{ 1 }}' },
      { chat_template_kwargs: { a: 1 } },
      {
        messages: [
          {
            role: 'user',
            content: [{ type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(4000)}` } }],
          },
        ],
      },
    ]) {
      const { status, text } = await ask(server, more);
      assert.equal(status, 400, text);
    }
  } finally {
    await server.stop();
  }
});

test('L4-27: the running engine says the version of llama.cpp, the one that its pinned package was built from; strangers are not told', async () => {
  const server = await startServer();
  try {
    const { engine } = (await (await call(server, '/kwyre/status')).json()) as { engine: { version: string } };
    const name = `@node-llama-cpp/linux-${process.arch}`;
    const built = JSON.parse(
      fs.readFileSync(join(root, `node_modules/${name}/bins/linux-${process.arch}/_nlcBuildMetadata.json`), 'utf8'),
    ) as { buildOptions: { llamaCpp: { release: string } } };
    assert.equal(`v${engine.version.replace(/-dev$/, '')}`, built.buildOptions.llamaCpp.release);
    assert.deepEqual(await (await fetch(`${server.url}/health`)).json(), { status: 'ok' });
    // What is installed is exactly one version, and the documents name it.
    const { dependencies, optionalDependencies } = JSON.parse(
      fs.readFileSync(join(root, 'package.json'), 'utf8'),
    ) as Record<string, Record<string, string>>;
    for (const version of Object.values({ ...dependencies, ...optionalDependencies }))
      assert.match(version, /^\d+\.\d+\.\d+$/);
    assert.ok(fs.readFileSync(join(root, 'docs/DEPENDENCIES.md'), 'utf8').includes(`\`${name}\``));
    assert.ok(
      fs
        .readFileSync(join(root, 'docs/DEPENDENCIES.md'), 'utf8')
        .includes(`| ${optionalDependencies![name]} | llama.cpp's shared libraries`),
    );
    assert.match(fs.readFileSync(join(root, 'SECURITY.md'), 'utf8'), /\*\*Engine updates\.\*\*/);
  } finally {
    await server.stop();
  }
});

test('L4-22, L4-23: no archive is opened, and no digest is a path', () => {
  for (const [name, bytes] of [
    ['model.zip', 'PK\u0003\u0004'],
    ['model.tar', `../../etc/passwd${'\0'.repeat(500)}`],
    ['model.tar.gz', '\u001f\u008b\u0008'],
    ['model.gguf.zst', '(\u00b5/\u00fd'],
  ] as const) {
    fs.writeFileSync(at(name), bytes, 'latin1');
    assert.equal(add(at(name)).code, 14, name);
  }
  writeModel(at('digest.gguf'), tinyShape);
  approve(state.path, at('digest.gguf'), 'digest');
  const record = join(state.path, 'models', 'digest.json');
  const text = fs.readFileSync(record, 'utf8');
  const decode = (base64: string) => JSON.parse(Buffer.from(base64, 'base64').toString()) as Record<string, never>;
  const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64');
  for (const [from, to] of [
    [/[0-9a-f]{64}/g, '../../../../etc/passwd'],
    [/digest\.gguf/g, '../../../../etc/passwd'],
  ] as const) {
    const outer = JSON.parse(text) as { bundle: string };
    const bundle = decode(outer.bundle) as unknown as { dsseEnvelope: { payload: string } };
    const payload = JSON.stringify(decode(bundle.dsseEnvelope.payload));
    assert.notEqual(payload.replace(from, to), payload);
    bundle.dsseEnvelope.payload = Buffer.from(payload.replace(from, to)).toString('base64');
    fs.writeFileSync(record, JSON.stringify({ ...outer, bundle: encode(bundle) }));
    assert.equal(kwyre(['model', 'verify', 'digest', '--state', state.path]).code, 14);
  }
});
