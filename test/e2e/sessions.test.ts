/**
 * Conversations over several turns at a real engine: with an id, recognised by their history, sealed, dropped or kept.
 * @module
 */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { engineRoutes } from '../../src/wire/messages.ts';
import type { Ask, ChatAnswer, EngineProcess } from '../support/engine.ts';
import { served } from '../support/engine.ts';
import { tinyShape, writeChain, writeModel } from '../support/gguf.ts';

type Turn = { role: string; content: string };

const folder = mkdtempSync(join(tmpdir(), 'kwyre-sessions-'));
const noise = join(folder, 'noise.gguf');
const loop = join(folder, 'loop.gguf');
const guide = join(import.meta.dirname, '..', '..', 'models', 'guide', 'guide.gguf');
const alice = Buffer.alloc(16, 1);
const bob = Buffer.alloc(16, 2);
const carol = Buffer.alloc(16, 3);

before(() => {
  chmodSync(folder, 0o755); // the engine is another user
  writeModel(noise, tinyShape);
  writeChain(loop, 'abcdefghij', false);
});
after(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function ask(
  engine: EngineProcess,
  what: Ask,
): Promise<{
  status: number;
  json: ChatAnswer & { data?: { id: string }[]; id?: string };
  session: string | undefined;
}> {
  const { status, text, session } = await engine.ask({ principal: alice, ...what }).answer;
  return { status, json: JSON.parse(text) as ChatAnswer, session };
}

const chat = (engine: EngineProcess, messages: readonly Turn[], more: Record<string, unknown> = {}, what: Ask = {}) =>
  ask(engine, { body: { model: 'test', messages, max_tokens: 12, temperature: 0, ...more }, ...what });
const cachedOf = (json: ChatAnswer) => json.usage.prompt_tokens_details?.cached_tokens ?? -1;

/** A chat of a client that sends its history again; gives the answers and what was reused in each turn. */
async function statelessChat(
  engine: EngineProcess,
  turns: number,
  more: Record<string, unknown> = {},
): Promise<{ answers: string[]; cached: number[]; prompts: number[] }> {
  const history: Turn[] = [{ role: 'system', content: 'You are brief.' }];
  const out = { answers: [] as string[], cached: [] as number[], prompts: [] as number[] };
  for (let turn = 0; turn < turns; turn += 1) {
    history.push({ role: 'user', content: `What does layer ${(turn % 6) + 1} do?` });
    const { status, json } = await chat(engine, history, more);
    assert.equal(status, 200);
    const text = json.choices[0]!.message.content;
    history.push({ role: 'assistant', content: text });
    out.answers.push(text);
    out.cached.push(cachedOf(json));
    out.prompts.push(json.usage.prompt_tokens);
  }
  return out;
}

describe('a client that sends its history again', () => {
  test('goes on from its sealed state: ten turns compute little more than what is new', async (t) => {
    await served({ model: guide, config: { continueSeconds: 600 } }, async (engine) => {
      const { cached, prompts } = await statelessChat(engine, 10, { max_tokens: 24 });
      t.diagnostic(`turn 10: ${cached[9]!} of ${prompts[9]!} tokens reused`);
      assert.equal(cached[0], 0);
      for (let turn = 1; turn < 10; turn += 1)
        assert.ok(prompts[turn]! - cached[turn]! < 40, `turn ${turn + 1}: ${cached[turn]!} of ${prompts[turn]!}`);
    });
  });

  test('with one sequence its answers are those of an engine that kept everything, and of one that computes all again', async () => {
    const say = async (config: object) => {
      let answers: string[] = [];
      await served({ model: guide, config: { parallel: 1, ...config } }, async (engine) => {
        ({ answers } = await statelessChat(engine, 5, { seed: 7, temperature: 0.8, max_tokens: 20 }));
      });
      return answers;
    };
    const sealed = await say({ continueSeconds: 600 });
    assert.deepEqual(sealed, await say({ continueSeconds: 600, kv: 'keep' }));
  });

  test('L5-07 is not found by another token, after its time, or when it is off', async () => {
    const history = [{ role: 'user', content: 'hello there' }];
    await served({ model: noise, config: { continueSeconds: 1 } }, async (engine) => {
      const first = await chat(engine, history);
      const next = [
        ...history,
        { role: 'assistant', content: first.json.choices[0]!.message.content },
        { role: 'user', content: 'more' },
      ];
      for (const [same, principal] of [
        [history, bob],
        [next, carol],
      ] as const)
        assert.equal(cachedOf((await chat(engine, same, {}, { principal })).json), 0, 'equal words of another token');
      assert.ok(cachedOf((await chat(engine, next)).json) > 10);
      await sleep(2500);
      assert.equal(cachedOf((await chat(engine, next)).json), 0);
    });
    await served({ model: noise, config: { continueSeconds: 0 } }, async (engine) => {
      await chat(engine, history);
      assert.equal(cachedOf((await chat(engine, history)).json), 0);
      assert.deepEqual((await ask(engine, { route: engineRoutes.sessionsList })).json.data, []);
    });
  });

  test('that goes away in the middle of an answer finds the state of its last whole turn', async () => {
    await served({ model: loop, config: { continueSeconds: 600 } }, async (engine) => {
      const history = [{ role: 'user', content: 'hello' }];
      const first = await chat(engine, history);
      const next = [
        ...history,
        { role: 'assistant', content: first.json.choices[0]!.message.content },
        { role: 'user', content: 'more' },
      ];
      const broken = engine.ask({ principal: alice, body: { model: 'test', messages: next, stream: true } });
      await broken.first;
      broken.abort();
      await sleep(200);
      assert.ok(cachedOf((await chat(engine, next)).json) > 10);
      const list = (await ask(engine, { route: engineRoutes.sessionsList })).json.data!;
      assert.equal(list.length, 1, 'one conversation, whatever happened to its turns');
    });
  });
});

describe('a conversation with an id', () => {
  test("is made by the header, remembers its turns, and is its owner's alone", async () => {
    await served({ model: noise }, async (engine) => {
      const first = await chat(engine, [{ role: 'user', content: 'one' }], {}, { session: 'new' });
      assert.match(first.session ?? '', /^[0-9a-f]{32}$/);
      const second = await chat(engine, [{ role: 'user', content: 'two' }], {}, { session: first.session! });
      assert.equal(second.session, first.session);
      assert.ok(second.json.usage.prompt_tokens > first.json.usage.prompt_tokens);
      assert.ok(cachedOf(second.json) > 10);

      const foreign = await chat(
        engine,
        [{ role: 'user', content: 'two' }],
        {},
        { session: first.session!, principal: bob },
      );
      const unknown = await chat(
        engine,
        [{ role: 'user', content: 'two' }],
        {},
        { session: 'a'.repeat(32), principal: bob },
      );
      assert.equal(foreign.status, 404);
      assert.deepEqual(foreign.json, unknown.json);

      const items = (await ask(engine, { route: engineRoutes.itemsList, parameter: `conv_${first.session!}` }))
        .json as unknown as { data: { role: string; content: { text: string }[] }[] };
      assert.deepEqual(
        items.data.map(({ role, content }) => [role, content[0]!.text]),
        [
          ['user', 'one'],
          ['assistant', first.json.choices[0]!.message.content],
          ['user', 'two'],
          ['assistant', second.json.choices[0]!.message.content],
        ],
      );
    });
  });

  test('is created with items, read, added to and deleted', async () => {
    await served({ model: noise }, async (engine) => {
      const created = await ask(engine, {
        route: engineRoutes.conversationCreate,
        body: {
          items: [
            { type: 'message', role: 'system', content: 'be brief' },
            { role: 'user', content: [{ type: 'input_text', text: 'näh "q"' }] },
          ],
        },
      });
      assert.equal(created.status, 200);
      const parameter = created.json.id;
      assert.equal((await ask(engine, { route: engineRoutes.conversationGet, parameter })).json.id, parameter);
      const added = await ask(engine, {
        route: engineRoutes.itemsAppend,
        parameter,
        body: { items: [{ role: 'assistant', content: 'yes' }] },
      });
      assert.equal(added.json.data?.length, 1);
      const listed = (await ask(engine, { route: engineRoutes.itemsList, parameter })).json as unknown as {
        data: { role: string; content: { type: string; text: string }[] }[];
        has_more: boolean;
      };
      assert.deepEqual(
        listed.data.map(({ role, content }) => [role, content[0]!.type, content[0]!.text]),
        [
          ['system', 'input_text', 'be brief'],
          ['user', 'input_text', 'näh "q"'],
          ['assistant', 'output_text', 'yes'],
        ],
      );
      for (const route of [
        engineRoutes.conversationGet,
        engineRoutes.itemsList,
        engineRoutes.conversationDelete,
      ] as const)
        assert.equal((await ask(engine, { route, parameter, principal: bob })).status, 404);
      for (const body of [
        {},
        { items: [] },
        { items: [{ role: 'user' }] },
        { items: [{ role: 'user', content: [{ type: 'input_image', text: 'x' }] }] },
      ])
        assert.equal((await ask(engine, { route: engineRoutes.itemsAppend, parameter, body })).status, 400);
      assert.equal((await ask(engine, { route: engineRoutes.conversationDelete, parameter })).status, 200);
      for (const route of [engineRoutes.conversationGet, engineRoutes.conversationDelete] as const)
        assert.equal((await ask(engine, { route, parameter })).status, 404);
      assert.equal((await ask(engine, { route: engineRoutes.conversationGet, parameter: 'x' })).status, 404);
    });
  });

  test('takes one turn at a time, and a broken one leaves it as it was', async () => {
    await served({ model: loop }, async (engine) => {
      const { session } = await chat(engine, [{ role: 'user', content: 'one' }], {}, { session: 'new' });
      const turn = engine.ask({
        principal: alice,
        session: session!,
        body: { model: 'test', stream: true, messages: [{ role: 'user', content: 'two' }] },
      });
      await turn.first;
      assert.equal(
        (await chat(engine, [{ role: 'user', content: 'three' }], {}, { session: session! })).json.error?.code,
        'session_busy',
      );
      turn.abort();
      await sleep(100);
      const items = (await ask(engine, { route: engineRoutes.itemsList, parameter: `conv_${session!}` })).json;
      assert.equal(items.data?.length, 2);
      assert.equal((await chat(engine, [{ role: 'user', content: 'four' }], {}, { session: session! })).status, 200);
    });
  });

  test('idle for too long it is gone, and its owner is told', async () => {
    await served({ model: noise, config: { idleSeconds: 1 } }, async (engine) => {
      const { session } = await chat(engine, [{ role: 'user', content: 'one' }], {}, { session: 'new' });
      await sleep(2500);
      const mine = await chat(engine, [{ role: 'user', content: 'two' }], {}, { session: session! });
      assert.deepEqual([mine.status, mine.json.error?.code], [410, 'session_gone']);
      assert.equal(
        (await chat(engine, [{ role: 'user', content: 'two' }], {}, { session: session!, principal: bob })).status,
        404,
      );
    });
  });

  test('under pressure the oldest idle one goes', async () => {
    await served({ model: noise, config: { sealedBytes: 400_000, contextTokens: 512 } }, async (engine) => {
      const ids: string[] = [];
      for (let i = 0; i < 30; i += 1)
        ids.push(
          (await chat(engine, [{ role: 'user', content: `hello ${'x'.repeat(200)}` }], {}, { session: 'new' }))
            .session!,
        );
      const first = await chat(engine, [{ role: 'user', content: 'two' }], {}, { session: ids[0]! });
      assert.deepEqual([first.status, first.json.error?.code], [410, 'session_gone']);
      assert.equal((await chat(engine, [{ role: 'user', content: 'two' }], {}, { session: ids.at(-1)! })).status, 200);
      const list = (await ask(engine, { route: engineRoutes.sessionsList })).json as unknown as {
        sealed_bytes: number;
      };
      assert.ok(list.sealed_bytes <= 400_000);
    });
  });

  test('--kv drop and --kv keep give the same answers as sealed', async () => {
    const say = async (kv: 'sealed' | 'drop' | 'keep') => {
      const answers: string[] = [];
      const cached: number[] = [];
      await served({ model: guide, config: { kv, parallel: 2 } }, async (engine) => {
        const ids: (string | undefined)[] = ['new', 'new', 'new'];
        for (let round = 0; round < 3; round += 1) {
          for (let i = 0; i < 3; i += 1) {
            const { json, session } = await chat(
              engine,
              [{ role: 'user', content: `Question ${i} of round ${round}: what is layer ${i + 1}?` }],
              { max_tokens: 16 },
              { session: ids[i]! },
            );
            ids[i] = session;
            answers.push(json.choices[0]!.message.content);
            cached.push(cachedOf(json));
          }
        }
      });
      return { answers, cached };
    };
    const sealed = await say('sealed');
    const kept = await say('keep');
    const dropped = await say('drop');
    assert.deepEqual(kept.answers, sealed.answers);
    assert.deepEqual(kept.cached, sealed.cached);
    assert.ok(sealed.cached.slice(3).every((count) => count > 10));
    assert.ok(dropped.cached.every((count) => count === 0));
  });
});

describe('sessions of the server', () => {
  test('the person sees all and wipes all, a token its own', async () => {
    await served({ model: noise, config: { continueSeconds: 600 } }, async (engine) => {
      const mine = await chat(engine, [{ role: 'user', content: 'one' }], {}, { session: 'new' });
      await chat(engine, [{ role: 'user', content: 'two' }], {}, { principal: bob });
      const list = async (what: Ask) => (await ask(engine, { route: engineRoutes.sessionsList, ...what })).json.data!;
      assert.deepEqual(
        [(await list({})).length, (await list({ principal: bob })).length, (await list({ operator: true })).length],
        [1, 1, 2],
      );
      assert.ok((await list({ principal: bob }))[0]!.id.startsWith('cont_'));
      const parameter = `conv_${mine.session!}`;
      assert.equal((await ask(engine, { route: engineRoutes.sessionDelete, parameter, principal: bob })).status, 404);
      assert.equal((await ask(engine, { route: engineRoutes.sessionGet, parameter })).status, 200);
      assert.equal(
        (await ask(engine, { route: engineRoutes.sessionDelete, parameter, principal: bob, operator: true })).status,
        200,
      );
      assert.deepEqual((await ask(engine, { route: engineRoutes.sessionsDelete })).json, { wiped: 0 });
      assert.deepEqual((await ask(engine, { route: engineRoutes.sessionsDelete, operator: true })).json, { wiped: 1 });
      assert.deepEqual(await list({ operator: true }), []);
    });
  });

  test('L5-15 a wipe under a stream ends it, and no token follows', async () => {
    await served({ model: loop }, async (engine) => {
      const { session } = await chat(engine, [{ role: 'user', content: 'one' }], {}, { session: 'new' });
      const turn = engine.ask({
        principal: alice,
        session: session!,
        body: { model: 'test', stream: true, messages: [{ role: 'user', content: 'two' }] },
      });
      await turn.first;
      assert.equal(
        (await ask(engine, { route: engineRoutes.sessionDelete, parameter: `conv_${session!}` })).status,
        200,
      );
      const { text } = await turn.answer;
      assert.match(text, /"code":"session_gone"\}\}\n\n$/);
      const before = turn.received();
      await sleep(200);
      assert.equal(turn.received(), before);
      assert.equal((await chat(engine, [{ role: 'user', content: 'three' }], {}, { session: session! })).status, 404);
    });
  });
});
