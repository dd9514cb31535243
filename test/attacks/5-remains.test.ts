/**
 * Layer 5 after an engine that could not clean up: the memory in which its conversations stood is held open from outside, as the
 * kernel would hold it, and looked at before and after the engine's end.
 * Needs root: opens the memory of the supervisor.
 * @module
 */
import assert from 'node:assert/strict';
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { countCopies, patternsOf, Searcher } from '../../src/cli/scanner.ts';
import { contentOf } from '../../src/linux/memfd.ts';
import { longAnswer } from '../support/kills.ts';
import { canaryOf } from '../support/mixed.ts';
import type { Server, Start } from '../support/server.ts';
import { startServer, until } from '../support/server.ts';
import { ordinaryUid } from '../support/watchdog.ts';

type Page = { readonly at: number; readonly bytes: Buffer };

/** A descriptor of the working set of the server's present engine. */
function openWorkingSet(server: Server): number {
  const folder = `/proc/${server.pid}/fd`;
  const name = readdirSync(folder).find((fd) => readlinkSync(`${folder}/${fd}`).startsWith('/memfd:kwyre-working-set'));
  assert.ok(name !== undefined, 'the supervisor holds it');
  return openSync(`${folder}/${name}`, 'r');
}

/** Every page of it that has content. */
function pagesOf(fd: number): Page[] {
  return [...contentOf(fd)].flatMap((content) =>
    Array.from({ length: content.bytes / 4096 }, (_, index) => {
      const page = { at: content.at + index * 4096, bytes: Buffer.alloc(4096) };
      readSync(fd, page.bytes, 0, 4096, page.at);
      return page;
    }),
  );
}

const copiesIn = (pages: readonly Page[], needles: readonly string[]) => countCopies(Buffer.concat(pages.map((page) => page.bytes)), new Searcher(patternsOf(needles)));

const overwritten = (server: Server): number[] =>
  readFileSync(join(server.state, 'events.jsonl'), 'utf8').trim().split('\n').map((line) => JSON.parse(line) as { code: string; count?: number }).filter((event) => event.code === 'WORKING_SET_OVERWRITTEN').map((event) => event.count ?? 0);

/** Two answers under way, and what stands in the working set then. */
async function midAnswer(t: TestContext, start: Start): Promise<{ server: Server; fd: number; canaries: string[]; before: Page[] }> {
  const server = await startServer(start);
  t.after(() => {
    server.kill();
  });
  const canaries = [canaryOf(), canaryOf()];
  await Promise.all(canaries.map(async (canary) => await longAnswer(server, canary)));
  const fd = openWorkingSet(server);
  t.after(() => {
    closeSync(fd);
  });
  const before = pagesOf(fd);
  assert.ok(copiesIn(before, canaries) > 0, 'the control: words of a running turn stand in it, and are found there');
  return { server, fd, canaries, before };
}

/** Nothing of what was there is there now, nor a constant in its place. */
function assertOverwritten(t: TestContext, fd: number, canaries: readonly string[], before: readonly Page[]): void {
  const now = pagesOf(fd);
  assert.equal(copiesIn(now, canaries), 0);
  const after = new Map(now.map((page) => [page.at, page.bytes]));
  for (const page of before) {
    const bytes = after.get(page.at);
    assert.ok(bytes !== undefined && !bytes.equals(page.bytes) && new Set(bytes).size > 100, `page ${page.at}`);
  }
  t.diagnostic(`${before.length} pages with content, ${now.length} overwritten`);
}

for (const [who, uid] of [['root', undefined], ['an ordinary user', ordinaryUid]] as const) {
  const identity = uid === undefined ? {} : { uid };
  test(`L5-14 C19 ${who}: the engine is killed in the middle of two answers: the supervisor overwrites what it left`, async (t) => {
    const { server, fd, canaries, before } = await midAnswer(t, identity);
    process.kill(server.pids()['engine']!, 'SIGKILL');
    await until('the supervisor to overwrite it', () => overwritten(server).length > 0);
    assertOverwritten(t, fd, canaries, before);
    const next = await until('the next engine', () => server.pids()['engine'], 10_000);
    assert.ok(next > 0);
  });

  test(`L5-14 C24 ${who}: the watchdog is killed: everything ends, and it is overwritten`, async (t) => {
    const { server, fd, canaries, before } = await midAnswer(t, identity);
    process.kill(server.pids()['watchdog']!, 'SIGKILL');
    assert.equal((await server.ended).code, 16, server.output());
    assertOverwritten(t, fd, canaries, before);
  });
}

test('L5-14 C20 an engine that does not answer is ended with the server, and overwritten', async (t) => {
  const { server, fd, canaries, before } = await midAnswer(t, { args: ['--scan-interval', '5000'] });
  process.kill(server.pids()['engine']!, 'SIGSTOP');
  await server.stop();
  assertOverwritten(t, fd, canaries, before);
});

test('L5-14 the server ends in order: nothing stands in it afterwards', async (t) => {
  const { server, fd, canaries, before } = await midAnswer(t, {});
  assert.equal((await server.stop()).code, 0, server.output());
  assertOverwritten(t, fd, canaries, before);
});
