import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { test } from 'node:test';
import { roleFlags } from '../../../src/policy/node-flags.ts';
import { roleEnvironment } from '../../../src/policy/roles.ts';
import { describeScan, scanProcess } from '../../../src/cli/prove/memory-scanner.ts';
import { stripped } from '../../support/stripped.ts';

/** A canary: text that occurs nowhere else. */
const canary = (kind: string) => `${kind}-${randomBytes(12).toString('hex')}-Ende`;

test('L5-03 L5-33 after dispose, no text of any field is left in any form; before, the scan finds them', async () => {
  const needles: string[] = [];
  const plant = (kind: string) => {
    const text = canary(kind);
    needles.push(text);
    return text;
  };
  const bodies = Array.from({ length: 40 }, (_, i) => {
    const body = {
      model: 'guide',
      user: plant('user'),
      metadata: { [plant('key')]: plant('meta') },
      stop: [plant('stop')],
      messages: [
        { role: 'system', content: ` ${plant('system')}\n` },
        {
          role: 'user',
          name: plant('name'),
          content: [
            { type: 'text', text: plant('part') },
            { type: 'text', text: `"quoted" \\ ${plant('quoted')} \u{1f512} \u00c4` },
          ],
        },
        { role: 'assistant', content: `<think>\n${plant('think')}\n</think>\n\n${plant('said')}` },
        { role: 'tool', tool_call_id: plant('call'), content: plant('tool') },
        { role: 'user', content: `${'padding '.repeat(i * 40)}${plant('long')}` },
      ],
      ...(i % 5 === 4 ? { temperature: 99 } : {}),
      ...(i % 5 === 3 ? { tools: [{ type: 'function', function: { name: plant('function') } }] } : {}),
    };
    const text = JSON.stringify(body);
    // Some bodies are truncated, some written with escapes only.
    if (i % 7 === 6) return Buffer.from(text.slice(0, -1));
    return Buffer.from(i % 3 === 1 ? text.replace(/[-]/g, '\\u002d') : text);
  });
  const child = spawn(process.execPath, [...roleFlags, stripped('test/support/bytes-entry.ts')], {
    env: roleEnvironment,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const line = async () => String((await once(child.stdout, 'data'))[0]);
  try {
    const number = (value: number) => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32LE(value);
      return bytes;
    };
    child.stdin.write(number(bodies.length));
    for (const body of bodies) {
      child.stdin.write(number(body.length));
      child.stdin.write(body);
    }
    const held = await line();
    assert.match(held, /^held \d+/);
    assert.ok(Number(held.slice(5)) >= 8, 'some bodies were refused');
    const before = scanProcess(child.pid!, needles);
    assert.ok(before.found > 100, `the scan sees the texts while they live: ${describeScan(before)}`);
    child.stdin.write('x');
    assert.equal(await line(), 'gone\n');
    const after = scanProcess(child.pid!, needles);
    console.log(`alive: ${describeScan(before)}`);
    console.log(`disposed: ${describeScan(after)}`);
    assert.equal(
      after.total,
      0,
      JSON.stringify(after.hits.slice(0, 3).map((hit) => [hit.form, hit.region, hit.context])),
    );
  } finally {
    child.stdin.end();
    child.kill('SIGKILL');
  }
});
