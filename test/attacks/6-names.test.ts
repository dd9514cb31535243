/**
 * Named tools: what a name alone may and may not do, with real processes.
 * Needs root: tools run as other users.
 * @module
 */
import assert from 'node:assert/strict';
import { copyFileSync, chmodSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { asUser } from '../support/identity.ts';
import { ordinaryUid, start, startWatched, use } from '../support/watchdog.ts';

const stranger = 12_399;

/** A folder that everybody may use. */
function folderOf(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'kwyre-names-'));
  chmodSync(folder, 0o755);
  t.after(() => {
    rmSync(folder, { recursive: true });
  });
  return folder;
}

for (const profile of ['person', 'installed'] as const) {
  test(`L6-10 ${profile}: another user's process that is called wireshark is logged, and nothing else`, async (t) => {
    const folder = folderOf(t);
    copyFileSync('/bin/sleep', join(folder, 'wireshark'));
    const watched = use(t, await startWatched({ profile }));
    use(t, start(asUser(stranger, [join(folder, 'wireshark'), '30'])));
    const finding = await watched.next('finding', (one) => one.name === 'wireshark');
    assert.equal(finding.relation, 'stranger');
    await sleep(1500);
    assert.ok(!watched.said.some((one) => one.type === 'violation' || one.type === 'level'));
  });

  test(`L6-10 ${profile}: full capabilities inside a user namespace of one's own are no relation`, async (t) => {
    const folder = folderOf(t);
    copyFileSync('/bin/sleep', join(folder, 'gdb'));
    const watched = use(t, await startWatched({ profile }));
    const process = use(
      t,
      start(asUser(stranger, ['unshare', '--user', '--map-root-user', join(folder, 'gdb'), '30'])),
    );
    await sleep(200);
    assert.equal(process.process.exitCode, null, `user namespaces are needed here: ${process.output()}`);
    assert.equal((await watched.next('finding')).relation, 'stranger');
    await sleep(1200);
    assert.ok(!watched.said.some((one) => one.type === 'violation' || one.type === 'level'));
  });

  test(`L6-10 ${profile}: a set-user-ID program under a name of the caller's choice is the caller's`, async (t) => {
    const folder = folderOf(t);
    copyFileSync('/bin/sleep', join(folder, 'held'));
    chmodSync(join(folder, 'held'), 0o4755);
    symlinkSync(join(folder, 'held'), join(folder, 'gdb'));
    const watched = use(t, await startWatched({ profile }));
    use(t, start(asUser(stranger, [join(folder, 'gdb'), '30'])));
    assert.equal((await watched.next('finding')).relation, 'stranger');
    await sleep(1200);
    assert.ok(!watched.said.some((one) => one.type === 'violation' || one.type === 'level'));
  });
}

test('person: a debugger of root without relation to us turns the layer yellow, and clean again when it is gone', async (t) => {
  const watched = use(t, await startWatched({ profile: 'person' }));
  const gdb = start(['gdb', '-q', '-nx']);
  t.after(gdb.stop);
  await watched.next('level', (one) => one.level === 'yellow');
  await sleep(1200);
  assert.ok(!watched.said.some((one) => one.type === 'violation'));
  await gdb.stop();
  await watched.next('level', (one) => one.level === 'clean');
});

test('person: an acknowledged tool is a note', async (t) => {
  const watched = use(t, await startWatched({ profile: 'person', acknowledged: ['gdb'] }));
  use(t, start(['gdb', '-q', '-nx']));
  await watched.next('finding', (one) => one.tool === 'gdb');
  await sleep(800);
  assert.ok(!watched.said.some((one) => one.type === 'level'));
});

test('person: an acknowledged debugger that attaches ends the server all the same', async (t) => {
  const watched = use(t, await startWatched({ profile: 'person', acknowledged: ['gdb'] }));
  use(t, start(['gdb', '-q', '-nx', '-p', String(watched.target)]));
  assert.equal((await watched.next('violation')).detector, 'tracer');
});

test('installed: a debugger of root ends the server at the second scan', async (t) => {
  const watched = use(t, await startWatched({ profile: 'installed' }));
  use(t, start(['gdb', '-q', '-nx']));
  const violation = await watched.next('violation');
  assert.deepEqual([violation.detector, violation.name], ['tools', 'gdb']);
});

test('a tool of the same user counts as one that could look into us', async (t) => {
  const watched = use(t, await startWatched({ uid: ordinaryUid, profile: 'installed' }));
  use(t, start(asUser(ordinaryUid, ['gdb', '-q', '-nx'])));
  assert.equal((await watched.next('violation')).detector, 'tools');
});

test('a tool that is there at the start is in the first scan, before anything is served', async (t) => {
  use(t, start(['gdb', '-q', '-nx']));
  await sleep(300);
  const watched = use(t, await startWatched({ profile: 'person' }));
  const first = await watched.next('first');
  assert.equal(first.level, 'yellow');
  assert.equal(first.yellow[0]?.tool, 'gdb');
});

test('L6-16 a name with line feeds and escapes reaches the log without them', async (t) => {
  const folder = folderOf(t);
  const evil = join(folder, 'frida-server-\n\u001b[2Jx');
  copyFileSync('/bin/sleep', evil);
  const watched = use(t, await startWatched());
  use(t, start([evil, '30']));
  const finding = await watched.next('finding', (one) => one.tool === 'frida');
  assert.equal(finding.name, 'frida-server-??[2Jx');
});
