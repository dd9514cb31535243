/**
 * What sealing costs: time to first token of a resumed turn, sealed beside kept and dropped, and of a whole turn.
 *
 * Run: `node test/bench/sessions.ts [MODEL.gguf] [HISTORY_TOKENS]`; real engine processes, one after another. Without a
 *      model
 * one of 507 million random parameters is written and removed again.
 * @module
 */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KeyArena } from '../../src/layers/5-memory/key-arena.ts';
import { SessionCipher } from '../../src/layers/5-memory/session-cipher.ts';
import { defaultQuotas } from '../../src/layers/5-memory/quota.ts';
import { SealedBuffer } from '../../src/layers/5-memory/sealed-buffer.ts';
import { Vault } from '../../src/layers/5-memory/vault.ts';
import { fillMemory, mapMemory } from '../../src/linux/memory/mapped-memory.ts';
import { served } from '../support/engine.ts';
import { benchShape, writeModel } from '../support/gguf.ts';

const [given, wanted = '2000'] = process.argv.slice(2);
const scratch = mkdtempSync(join(tmpdir(), 'kwyre-bench-'));
process.once('exit', () => {
  rmSync(scratch, { recursive: true, force: true });
});
chmodSync(scratch, 0o755); // the engine is another user
const model = given ?? join(scratch, 'large.gguf');
if (given === undefined) writeModel(model, benchShape);
const words = 'The six layers of the server defend a conversation between two turns and after its end. ';
// The written model has a token for each byte; a real one needs a quarter of them.
const history = words
  .repeat(Math.ceil((Number(wanted) * (given === undefined ? 1 : 4)) / words.length))
  .slice(0, Number(wanted) * (given === undefined ? 1 : 4));
const rounds = 5;

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;

/** AES-256-GCM in place, the best of five runs over 64 MiB. */
function sealingSpeed(): number {
  const bytes = 64 << 20;
  const from = mapMemory(bytes);
  fillMemory(from, bytes, 7);
  const sealed = new SealedBuffer(bytes);
  const cipher = new SessionCipher();
  const arena = KeyArena.open(undefined, 1);
  const place = arena.take() ?? 0;
  const owner = { idBytes: randomBytes(16), principal: randomBytes(16) };
  let best = 0;
  for (let i = 0; i < 5; i += 1) {
    const began = performance.now();
    cipher.seal(arena.at(place), owner, 'state', i + 1, from, bytes, sealed);
    best = Math.max(best, bytes / (performance.now() - began) / 1e6);
  }
  return best;
}

/** Wiping 1,000 idle conversations of 100 KB: the median of five, in milliseconds. */
function wipeAllMs(): number {
  const work = mapMemory(100_000);
  fillMemory(work, 100_000, 7);
  const vault = new Vault(KeyArena.open(undefined), defaultQuotas, () => randomBytes(16));
  return median(
    Array.from({ length: rounds }, (_, round) => {
      for (let i = 0; i < 1000; i += 1) {
        const session = vault.create({ principal: randomBytes(16), operator: false }, 'kept', round);
        if (!vault.put(session, 'state', work, 100_000, round)) throw new Error('the vault is full');
        vault.end(session, round);
      }
      const began = performance.now();
      vault.wipeAll(round);
      return performance.now() - began;
    }),
  );
}

console.log(
  JSON.stringify({
    wipe: `${wipeAllMs().toFixed(0)} ms to the last overwritten byte of 1,000 conversations of 100 KB, goal 100`,
  }),
);
console.log(JSON.stringify({ sealing: `${sealingSpeed().toFixed(1)} GB/s on one core` }));
for (const kv of ['sealed', 'keep', 'drop'] as const) {
  await served(
    { model, config: { kv, parallel: 1, threads: 2, contextTokens: 4096, turnSeconds: 600 } },
    async (engine) => {
      const principal = Buffer.alloc(16, 1);
      const body = (content: string, max: number) => ({
        model: 'test',
        stream: true,
        temperature: 0,
        max_tokens: max,
        stream_options: { include_usage: true },
        messages: [{ role: 'user', content }],
      });
      const first = await engine.ask({ principal, session: 'new', body: body(history, 2) }).answer;
      if (first.status !== 200 || first.session === undefined) throw new Error(first.text);
      const { session } = first;
      const firsts: number[] = [];
      let reused = '';
      for (let round = 0; round < (kv === 'drop' ? 2 : rounds); round += 1) {
        const began = performance.now();
        const turn = engine.ask({ principal, session, body: body(`And ${round}?`, 8) });
        await turn.first;
        firsts.push(performance.now() - began);
        reused = /"cached_tokens":(\d+)/.exec((await turn.answer).text)?.[1] ?? '';
      }
      const began = performance.now();
      await engine.ask({ principal, session, body: body('And a long answer?', 128) }).answer;
      const whole = performance.now() - began;
      console.log(
        `${kv}: first token of a resumed turn ${median(firsts).toFixed(0)} ms (${firsts.map((ms) => ms.toFixed(0)).join(', ')}), ${reused} tokens reused, a turn of 128 tokens ${whole.toFixed(0)} ms`,
      );
    },
  );
}
