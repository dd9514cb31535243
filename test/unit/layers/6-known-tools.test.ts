/**
 * Named tools in the forms in which they run, and what only resembles them (L6-25).
 * @module
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { baseName, nameTool, tools } from '../../../src/layers/6-intrusion/known-tools.ts';

type Entry = {
  readonly tool: string | null;
  readonly seen: string;
  readonly name: string;
  readonly argv: readonly string[];
  readonly executable: string;
};
const entries = JSON.parse(
  readFileSync(join(import.meta.dirname, '..', '..', 'vectors', 'proc', 'processes.json'), 'utf8'),
) as Entry[];

for (const entry of entries) {
  test(`L6-25 ${entry.tool ?? 'nothing'}: ${entry.argv.slice(0, 3).join(' ')} (${entry.seen})`, () => {
    assert.equal(nameTool(entry)?.id, entry.tool ?? undefined);
  });
}

test('C23: every tool that the promise names has a form on record', () => {
  const promised = [
    'x64dbg',
    'windbg',
    'ghidra',
    'ida',
    'wireshark',
    'tcpdump',
    'fiddler',
    'mitmproxy',
    'burp',
    'processhacker',
    'cheatengine',
    'gdb',
    'lldb',
    'strace',
    'ltrace',
    'perf',
    'bpftrace',
    'radare2',
    'rizin',
    'frida',
    'rr',
    'gcore',
    'volatility',
    'avml',
  ];
  for (const id of promised) {
    assert.ok(
      tools.some((tool) => tool.id === id),
      id,
    );
    assert.ok(
      entries.some((entry) => entry.tool === id),
      `${id} has no fixture`,
    );
  }
});

test("names without the executable are enough: another user's process shows no more", () => {
  for (const entry of entries)
    if (entry.tool !== null && entry.executable.startsWith('/usr/bin/') && entry.argv[0] === entry.name)
      assert.equal(nameTool({ ...entry, executable: '' })?.id, entry.tool);
});

test("what a process calls itself is no sign: its file counts, and where that is hidden the kernel's name and the first argument must agree", () => {
  for (const { name, argv, executable } of [
    { name: 'charles', argv: ['proftpd: RETR /pub/charles'], executable: '/usr/sbin/proftpd' },
    { name: 'gdb', argv: ['gdb'], executable: '/usr/bin/sleep' },
    { name: 'proftpd', argv: ['proftpd: RETR /pub/charles'], executable: '' },
    { name: 'sleep', argv: ['gdb'], executable: '' },
    { name: 'gdb', argv: ['/usr/bin/sleep'], executable: '' },
  ])
    assert.equal(nameTool({ name, argv, executable }), undefined, `${name} ${argv.join(' ')} ${executable}`);
  assert.equal(nameTool({ name: 'gdb', argv: ['gdb'], executable: '' })?.id, 'gdb');
});

test('ids and names are in one tool each', () => {
  const all = tools.flatMap((tool) => tool.names);
  assert.equal(new Set(all).size, all.length);
  assert.equal(new Set(tools.map((tool) => tool.id)).size, tools.length);
  for (const name of all) assert.equal(name, name.toLowerCase());
});

test('property: no process makes the lookup throw, and control characters are no way around a name', () => {
  fc.assert(
    fc.property(fc.string(), fc.array(fc.string(), { maxLength: 6 }), fc.string(), (name, argv, executable) => {
      nameTool({ name, argv, executable });
    }),
  );
  assert.equal(baseName('/opt/x/GDB-12.1'), 'gdb');
  assert.equal(baseName('/usr/bin/gdb (deleted)'), 'gdb');
});
