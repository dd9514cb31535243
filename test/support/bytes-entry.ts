/**
 * A process that does to texts what the engine does around the model: parse, render, hold back, stop, write. Bodies
 * come on standard input, each after its length, and are read into own memory; `held` says that all texts are alive,
 * and after one more byte `gone` says that everything was disposed.
 * @module
 */
import { readSync, writeSync } from 'node:fs';
import { unpooledBytes, wipeBytes } from '../../src/base/bytes.ts';
import { ByteWriter } from '../../src/engine/bytes/byte-writer.ts';
import { parseChatRequest } from '../../src/engine/api/chat-request.ts';
import type { ChatRequest, Prompt } from '../../src/engine/types.ts';
import { RequestError } from '../../src/engine/types.ts';
import { StopMatcher } from '../../src/engine/bytes/stop-matcher.ts';
import { compileTemplate } from '../../src/template/template.ts';
import { Utf8Holdback } from '../../src/engine/bytes/utf8.ts';
import { writeCompletion, ContentChunks, writeError } from '../../src/engine/api/response-json.ts';

const templates = [
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content | trim + '<|im_end|>\\n' }}{% endfor %}",
  "{% for m in messages %}{% set c = m.content %}{% if '</think>' in c %}{% set c = c.split('</think>')[-1].lstrip('\\n') %}{% endif %}{{ m.role ~ ':' ~ c.replace('a', 'b') ~ (c | lower)[2:-2] ~ c | tojson }}{% if c.startswith('x') or (c ~ 'x') == 'y' %}{{ c | length }}{% endif %}{% endfor %}",
].map((source) => compileTemplate(source, { bos: '<s>', eos: '</s>' }));
const head = { id: 'chatcmpl-0', created: 1, model: 'guide' };

function read(bytes: Buffer): void {
  for (let at = 0; at < bytes.length;) {
    const got = readSync(0, bytes, at, bytes.length - at, null);
    if (got === 0) throw new Error('input ended');
    at += got;
  }
}

function readNumber(): number {
  const bytes = unpooledBytes(4);
  read(bytes);
  return bytes.readUInt32LE(0);
}

const alive: Disposable[] = [];

/** The text of a request as if it were a model's answer: in tokens of a few bytes, through everything. */
function answer(request: ChatRequest, prompt: Prompt, out: ByteWriter): void {
  const holdback = new Utf8Holdback();
  const stop = new StopMatcher(request.stop);
  const whole = new ByteWriter();
  const chunks = new ContentChunks(head, true);
  alive.push(holdback, stop, whole, chunks);
  for (const piece of prompt.pieces) {
    if (piece.kind !== 'text') continue;
    for (let at = 0; at < piece.bytes.length; at += 5) {
      const { emit } = stop.push(holdback.push(piece.bytes.subarray(at, at + 5)));
      whole.bytes(emit);
      chunks.write(out, emit);
    }
  }
  const usage = { promptTokens: 1, completionTokens: 1 };
  writeCompletion(out, { head, content: whole.view(), reason: 'stop', usage });
}

let refused = 0;
for (let left = readNumber(); left > 0; left -= 1) {
  const body = unpooledBytes(readNumber());
  try {
    read(body);
    const request = parseChatRequest(body);
    alive.push(request);
    for (const template of templates) {
      const prompt = template.render(request.messages, { addGenerationPrompt: true });
      const out = new ByteWriter(64);
      alive.push(prompt, out);
      answer(request, prompt, out);
    }
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    refused += 1;
    const out = new ByteWriter();
    alive.push(out);
    writeError(out, error);
  } finally {
    wipeBytes(body);
  }
}
writeSync(1, `held ${refused}\n`);
read(unpooledBytes(1));
for (const one of alive) one[Symbol.dispose]();
alive.length = 0;
writeSync(1, 'gone\n');
read(unpooledBytes(1));
