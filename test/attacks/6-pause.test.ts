/**
 * Processes that stand still: all together, as those of a machine that pauses do, or by turns, as an attacker would
 * have it. Needs root: looks at processes of other users.
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Server } from '../support/server.ts';
import { makeState } from '../support/approved.ts';
import { alive, call, startServer, until } from '../support/server.ts';
import { biasOf, endTokens } from '../support/tokens.ts';
import { assertWithin } from '../support/time-bounds.ts';

const ask = { model: 'guide', max_tokens: 4, messages: [{ role: 'user', content: 'What does layer 6 do?' }] };

async function serve(t: TestContext, state: string): Promise<Server> {
  const server = await startServer({ state, args: ['--scan-interval', '250'] });
  t.after(() => {
    server.kill();
  });
  return server;
}

/** Signals processes of the server, all of them within a millisecond. */
function signal(pids: readonly (number | undefined)[], name: NodeJS.Signals): void {
  for (const pid of pids) if (pid !== undefined && alive(pid)) process.kill(pid, name);
}

/** Opens a long answer and waits for its first bytes; its whole text when it is over, however that is. */
async function openAnswer(server: Server): Promise<{ readonly rest: Promise<string> }> {
  const answer = await call(server, '/v1/chat/completions', {
    ...ask,
    max_tokens: 3500,
    temperature: 1.7,
    stream: true,
    logit_bias: biasOf(await endTokens()),
  });
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
  let text = Buffer.from((await reader.read()).value ?? []).toString();
  const rest = (async () => {
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return text;
        text += Buffer.from(value).toString();
      }
    } catch {
      return text; // the connection was cut
    }
  })();
  return { rest };
}

const events = (server: Server) => readFileSync(join(server.state, 'events.jsonl'), 'utf8');

test('a machine that pauses for eleven seconds: the running answer is cut, nothing is taken until a clean scan, the server lives', async (t) => {
  using state = makeState();
  const server = await serve(t, state.path);
  const kept = await call(server, '/v1/chat/completions', ask, { headers: { 'kwyre-session': 'new' } });
  assert.equal(kept.status, 200);
  const session = kept.headers.get('kwyre-session') ?? '';
  const { rest } = await openAnswer(server);
  const { supervisor, watchdog, gateway, engine } = server.pids();
  const all = [watchdog, supervisor, gateway, engine];
  signal(all, 'SIGSTOP');
  await sleep(11_000);
  // The watchdog stops first and continues last: in a pause of the machine it sees none of the others stopped.
  signal(all.toReversed(), 'SIGCONT');
  const text = await rest;
  assert.doesNotMatch(text, /\[DONE\]/);
  assert.match(text, /"code":"machine_paused"/);
  await until('requests to be taken again', () =>
    /the machine was paused for 1[01] s; running answers were aborted/.test(server.output()),
  );
  assert.deepEqual(Object.values(server.pids()).sort(), all.toSorted(), 'the same processes');
  let again = await call(server, '/v1/chat/completions', ask, { headers: { 'kwyre-session': session } });
  for (let i = 0; i < 20 && again.status === 503; i += 1) {
    await sleep(250); // the word to the gateway is on its way
    again = await call(server, '/v1/chat/completions', ask, { headers: { 'kwyre-session': session } });
  }
  assert.equal(again.status, 200, 'what was between its turns is kept');
  assert.match(events(server), /"MACHINE_PAUSED","count":1[01]\}/);
  assert.doesNotMatch(events(server), /L6_LEVEL_DETECTED/, 'one pause is no detection');
  assert.equal((await server.stop()).code, 0);
});

test('L6-07 roles and supervisor are stopped by turns: the running answer is cut, and the roles are gone after a few seconds of their own', async (t) => {
  using state = makeState();
  const server = await serve(t, state.path);
  const { rest } = await openAnswer(server);
  const { supervisor, watchdog, gateway, engine } = server.pids();
  let runMs = 0;
  let rounds = 0;
  signal([watchdog, supervisor], 'SIGSTOP');
  for (; rounds < 12 && alive(engine!); rounds += 1) {
    signal([engine, gateway], 'SIGSTOP');
    await sleep(3500);
    signal([engine, gateway], 'SIGCONT');
    const from = performance.now();
    await sleep(500);
    runMs += performance.now() - from;
  }
  assert.ok(!alive(engine!) && !alive(gateway!), `they live after ${rounds} rounds`);
  assertWithin('roles run on without a supervisor', runMs, 5000);
  assert.doesNotMatch(await rest, /\[DONE\]/);
  signal([watchdog, supervisor], 'SIGCONT');
  assert.equal((await server.ended).code, 16);
});

test('L6-07 one role ends while the supervisor is stopped, and the other then loses its channel: no crash, but a violation', async (t) => {
  for (const last of ['engine', 'gateway'] as const) {
    using state = makeState();
    const server = await serve(t, state.path);
    const { supervisor, watchdog, gateway, engine } = server.pids();
    const roles = { engine, gateway };
    const first = roles[last === 'engine' ? 'gateway' : 'engine'];
    signal([watchdog, supervisor, roles[last]], 'SIGSTOP');
    await until('the role that runs to end', () => !alive(first!), 15_000);
    signal([roles[last]], 'SIGCONT');
    await until('the other role to end', () => !alive(roles[last]!), 15_000);
    signal([watchdog, supervisor], 'SIGCONT');
    assert.equal((await server.ended).code, 16, `the ${last} ended last`);
    assert.match(events(server), /"L6_SUPERVISOR_STOPPED"/);
  }
});
