/**
 * The working set of a server's engine as somebody sees it who holds a descriptor of it: before and after the engine's
 * end.
 * @module
 */
import assert from 'node:assert/strict';
import { openSync, readdirSync, readFileSync, readlinkSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { countCopies, patternsOf, Searcher } from '../../src/cli/prove/memory-scanner.ts';
import { contentOf } from '../../src/linux/memory/memfd.ts';
import type { Server } from './server.ts';

export type Page = { readonly at: number; readonly bytes: Buffer };

/** A descriptor of the working set of the server's present engine. */
export function openWorkingSet(server: Server): number {
  const folder = `/proc/${server.pid}/fd`;
  const name = readdirSync(folder).find((fd) => readlinkSync(`${folder}/${fd}`).startsWith('/memfd:kwyre-working-set'));
  assert.ok(name !== undefined, 'the supervisor holds it');
  return openSync(`${folder}/${name}`, 'r');
}

/** Every page of it that has content. */
export function pagesOf(fd: number): Page[] {
  return [...contentOf(fd)].flatMap((content) =>
    Array.from({ length: content.bytes / 4096 }, (_, index) => {
      const page = { at: content.at + index * 4096, bytes: Buffer.alloc(4096) };
      readSync(fd, page.bytes, 0, 4096, page.at);
      return page;
    }),
  );
}

/** Copies of words in pages. */
export const copiesIn = (pages: readonly Page[], needles: readonly string[]) =>
  countCopies(Buffer.concat(pages.map((page) => page.bytes)), new Searcher(patternsOf(needles)));

/** The bytes of each working set that the supervisor says it overwrote. */
export const overwritten = (server: Pick<Server, 'state'>): number[] =>
  readFileSync(join(server.state, 'events.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { code: string; count?: number })
    .filter((event) => event.code === 'WORKING_SET_OVERWRITTEN')
    .map((event) => event.count ?? 0);

/**
 * What is wrong with pages that must be overwritten: words that are left, pages that are as they were or hold a
 * constant.
 */
export function faultsOf(fd: number, canaries: readonly string[], before: readonly Page[]): string[] {
  const now = pagesOf(fd);
  const after = new Map(now.map((page) => [page.at, page.bytes]));
  const left = copiesIn(now, canaries);
  return [
    ...(left === 0 ? [] : [`${left} copies`]),
    ...before.flatMap((page) => {
      const bytes = after.get(page.at);
      return bytes !== undefined && !bytes.equals(page.bytes) && new Set(bytes).size > 100 ? [] : [`page ${page.at}`];
    }),
  ];
}
