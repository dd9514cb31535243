/**
 * A state folder that takes nothing: a full disk, a read-only one, a limit on the size of files, a folder that was
 * removed. Bookkeeping ends no server, and a violation has the same consequence as ever. Needs root: mounts small
 * disks.
 * @module
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { EventLog } from '../../src/state/event-log.ts';
import { markerPaths, markViolation } from '../../src/state/violation-marker.ts';
import { Disk } from '../support/disk.ts';
import { alive, call, launch, startServer, tree, until } from '../support/server.ts';
import type { Server } from '../support/server.ts';

const traces = /\n {4}at |node:fs|Node\.js v/;
const quick = ['--scan-interval', '250'];
type Status = { readonly events: { readonly lost: number; readonly reason: string } };
const eventsOf = async (server: Server) => ((await (await call(server, '/kwyre/status')).json()) as Status).events;
const wrongToken = async (server: Server) => (await call({ ...server, token: 'kw-wrong' }, '/v1/models')).status;

/** Takes away what a violation left in the folders of this boot. */
function tidy(state: string): void {
  for (const path of markerPaths(state, 0).slice(1)) rmSync(path, { force: true });
}

/** Kills the watchdog: exit 16, nobody left, no trace of an error of ours. */
async function violate(server: Server): Promise<void> {
  const ours = tree(server.pid);
  process.kill(server.pids()['watchdog']!, 'SIGKILL');
  assert.equal((await server.ended).code, 16, server.output());
  assert.deepEqual(ours.filter(alive), []);
  assert.match(server.output(), /L6_WATCHDOG_DEAD/);
  assert.doesNotMatch(server.output(), traces);
}

test('a full disk: a wrong token ends nothing, a violation ends with 16 and stands at the next start', async () => {
  using disk = new Disk();
  const state = disk.path;
  const server = await startServer({ state, args: quick });
  try {
    disk.fill('events.jsonl');
    assert.equal(await wrongToken(server), 401);
    await until('the loss', () => server.output().includes('events cannot be written'));
    assert.match(server.output(), /events\.jsonl \(ENOSPC\).*\n {2}next: the disk is full/);
    const events = await eventsOf(server);
    assert.equal(events.reason, 'ENOSPC');
    assert.ok(events.lost >= 1);
    assert.match(
      execFileSync(join(import.meta.dirname, '..', '..', 'kwyre'), ['status', '--state', state], { encoding: 'utf8' }),
      /events: \d+ could not be written \(ENOSPC\)/,
    );
    assert.equal(
      (
        await call(server, '/v1/chat/completions', {
          model: 'guide',
          max_tokens: 4,
          messages: [{ role: 'user', content: 'Hello' }],
        })
      ).status,
      200,
    );
    await violate(server);
    assert.ok(!existsSync(join(state, 'violation.json')), 'there was no room');
    const again = launch({ state });
    assert.equal((await again.ended).code, 16, again.output());
    assert.match(again.output(), /L6_WATCHDOG_DEAD.*\n {2}next: .*--acknowledge-violation/);
    // Full again (the token's pages came back): an acknowledged start says what is in its way.
    disk.fill();
    const full = launch({ state, args: ['--acknowledge-violation'] });
    assert.equal((await full.ended).code, 1, full.output());
    assert.match(full.output(), /cannot write .*\(ENOSPC\)\n {2}next: the disk is full/);
    assert.doesNotMatch(again.output() + full.output(), traces);
  } finally {
    server.kill();
    tidy(state);
  }
});

test('a read-only disk: the server goes on and ends in order; the next start says what to do', async () => {
  using disk = new Disk();
  const state = disk.path;
  const server = await startServer({ state });
  try {
    disk.seal();
    assert.equal(await wrongToken(server), 401);
    await until('the loss', () => server.output().includes('(EROFS)'));
    assert.equal((await eventsOf(server)).reason, 'EROFS');
    const { code } = await server.stop();
    assert.equal(code, 0, server.output());
    assert.match(server.output(), /cannot write .*token \(EROFS\)/, 'the token that stays behind is said');
    const again = launch({ state });
    assert.equal((await again.ended).code, 1, again.output());
    assert.match(again.output(), /\(EROFS\)\n {2}next: the file system is read-only/);
    assert.doesNotMatch(server.output() + again.output(), traces);
  } finally {
    server.kill();
  }
});

test('a limit on the size of files and then no folder at all: the violation still ends with 16', async () => {
  using disk = new Disk();
  const state = join(disk.path, 'state');
  const server = await startServer({ state, args: quick });
  const places = markerPaths(state, 0);
  try {
    execFileSync('prlimit', ['--pid', String(server.pid), '--fsize=0:0']);
    assert.equal(await wrongToken(server), 401);
    await until('the loss', () => server.output().includes('(EFBIG)'));
    rmSync(state, { recursive: true });
    await violate(server);
    // With that limit nothing can be written anywhere: the exit code and the words carry it.
    assert.match(server.output(), /no marker could be written anywhere: only exit code 16/);
  } finally {
    server.kill();
    for (const path of places.slice(1)) rmSync(path, { force: true });
  }
});

test('of a line that does not fit nothing stays in the log', () => {
  using disk = new Disk(16);
  const log = new EventLog(disk.path, () => undefined);
  log.write({ code: 'SERVER_READY' });
  disk.fill();
  for (let i = 0; i < 200; i += 1) log.write({ code: 'L6_SEEN', detector: 'tools', pid: i, name: 'x'.repeat(64) });
  assert.ok(log.losses.lost > 0);
  disk.free();
  log.write({ code: 'SERVER_STOPPED' });
  const lines = readFileSync(join(disk.path, 'events.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { code: string; count?: number });
  assert.deepEqual(
    lines.slice(-2).map(({ code, count }) => [code, count]),
    [
      ['EVENTS_LOST', log.losses.lost],
      ['SERVER_STOPPED', undefined],
    ],
  );
  assert.equal(lines.length, 200 - log.losses.lost + 3);
});

test('a marker goes where there is room, for a full and for a read-only state folder', () => {
  for (const spoil of [
    (disk: Disk) => {
      disk.fill();
    },
    (disk: Disk) => {
      disk.seal();
    },
  ]) {
    using disk = new Disk(16);
    using other = new Disk(16);
    const places = markerPaths(disk.path, 0, [other.path]);
    spoil(disk);
    assert.equal(
      markViolation(places, { code: 'L6_VIOLATION', detector: 'tracer', pid: 1, uid: 0, name: 'gdb' }, 'boot-a'),
      places[1],
    );
  }
});
