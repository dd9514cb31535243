/** Findings of the watchdog as the supervisor takes them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import type { Detection } from '../../../src/layers/6-intrusion/finding.ts';
import { identify, verifyFindings } from '../../../src/supervisor/intrusion/reported-finding.ts';

const detection = (findings: Detection['findings']): Detection => ({
  detector: 'tracer',
  seen: 'full',
  reason: '',
  findings,
});

test('name, user, words and tool are ours; the watchdog gives a process and a detector', () => {
  const said = {
    detector: 'tracer',
    relation: 'effect',
    pid: 7,
    uid: 99,
    name: 'words of a conversation',
    what: 'more of its words',
    tool: 'and more',
  } as const;
  const look = (pid: number) => (pid === 7 ? { uid: 1000, name: 'gdb' } : undefined);
  const [one] = verifyFindings(
    [
      detection([
        said,
        { ...said, pid: 8, tool: 'gdb', what: 'traces the engine (pid 4114)' },
        { ...said, pid: 9 },
        { ...said, pid: 0 },
      ]),
    ],
    new Map([[9, 'engine']]),
    look,
  );
  assert.deepEqual(one!.findings, [
    { detector: 'tracer', relation: 'effect', pid: 7, uid: 1000, name: 'gdb', what: 'was reported by the watchdog' },
    { detector: 'tracer', relation: 'effect', pid: 8, uid: -1, name: '?', what: 'traces the engine', tool: 'gdb' },
    {
      detector: 'tracer',
      relation: 'effect',
      pid: 9,
      uid: -1,
      name: 'kwyre engine',
      what: 'was reported by the watchdog',
    },
    { detector: 'tracer', relation: 'effect', pid: 0, uid: -1, name: '?', what: 'was reported by the watchdog' },
  ]);
});

test('a process is named by its executable, whatever it calls itself', async (t) => {
  const child = spawn(
    process.execPath,
    ['-e', 'process.title = "x\\nUid:\\t77"; console.log(1); setTimeout(() => {}, 1e6)'],
    { stdio: ['ignore', 'pipe', 'ignore'] },
  );
  t.after(() => child.kill('SIGKILL'));
  await new Promise((resolve) => child.stdout.once('data', resolve));
  assert.deepEqual(identify(child.pid!), { uid: process.getuid?.(), name: 'node' });
  assert.equal(identify(2 ** 22 + 1), undefined);
});
