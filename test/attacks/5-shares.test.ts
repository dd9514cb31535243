/**
 * One token against the conversations of another and of the person, at a real engine: whatever it makes, theirs stay.
 * @module
 */
import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { engineRoutes } from '../../src/wire/messages.ts';
import type { EngineProcess } from '../support/engine.ts';
import { served } from '../support/engine.ts';
import { tinyShape, writeModel } from '../support/gguf.ts';
import { scratch } from '../support/native.ts';

const folder = scratch();
chmodSync(folder, 0o755); // the engine is another user
const model = join(folder, 'tiny.gguf');
writeModel(model, tinyShape);

const person = { principal: Buffer.alloc(16, 1), operator: true };
const [app, other] = [2, 3].map((value) => ({ principal: Buffer.alloc(16, value), operator: false })) as [
  typeof person,
  typeof person,
];

const create = async (engine: EngineProcess, as: typeof person) => {
  const { status, text } = await engine.ask({
    ...as,
    route: engineRoutes.conversationCreate,
    body: { items: [{ type: 'message', role: 'user', content: 'x' }] },
  }).answer;
  return { status, id: status === 200 ? (JSON.parse(text) as { id: string }).id : '' };
};
const say = async (engine: EngineProcess, as: typeof person, session: string) =>
  await engine.ask({
    ...as,
    session,
    body: { model: 'test', max_tokens: 1, messages: [{ role: 'user', content: 'go on' }] },
  }).answer;
const get = async (engine: EngineProcess, as: typeof person, id: string) =>
  (await engine.ask({ ...as, route: engineRoutes.conversationGet, parameter: id }).answer).status;

test("L5-27 two tokens make conversations without end, empty, with words, recognised and with turns: the person's and a third token's are there, and she has room for more", async () => {
  const third = { principal: Buffer.alloc(16, 4), operator: false };
  await served(
    { model, config: { contextTokens: 256, parallel: 4, sealedBytes: 1 << 20, continueSeconds: 600 } },
    async (engine) => {
      const hers = await say(engine, person, 'new');
      const theirs = await create(engine, third);
      assert.deepEqual([hers.status, theirs.status], [200, 200]);
      const statuses = new Set<number>();
      for (let i = 0; i < 150; i += 1) {
        for (const as of [app, other]) {
          statuses.add((await create(engine, as)).status);
          if (i % 5 === 0) statuses.add((await say(engine, as, i % 10 === 0 ? 'new' : '')).status);
        }
      }
      assert.ok(
        [...statuses].every((status) => [200, 429, 507].includes(status)),
        [...statuses].join(),
      );
      assert.equal(await get(engine, person, `conv_${hers.session!}`), 200);
      assert.equal(await get(engine, third, theirs.id), 200);
      assert.equal((await say(engine, person, hers.session!)).status, 200, 'her next turn is sealed too');
      for (let i = 0; i < 10; i += 1) assert.equal((await create(engine, person)).status, 200);
      assert.equal(await get(engine, person, `conv_${hers.session!}`), 200);
    },
  );
});
