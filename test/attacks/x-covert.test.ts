/**
 * A gateway, an engine and a watchdog that were taken over while they serve, and that try to leave 64 chosen characters
 * of a conversation on the disk or the terminal: by every message that the supervisor takes, by what they print, by how
 * they end. Needs root: runs copies of the installation.
 * @module
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { markerPaths } from '../../src/state/violation-marker.ts';
import { linesPerHour } from '../../src/wire/covert-channels.ts';
import { wireVersion } from '../../src/wire/frame.ts';
import { controlMessages, descriptors } from '../../src/wire/messages.ts';
import { makeState } from '../support/approved.ts';
import type { Copy } from '../support/copy.ts';
import { copyInstallation } from '../support/copy.ts';
import type { Server } from '../support/server.ts';
import { call, startServer, until } from '../support/server.ts';
import { editCode } from '../support/find-code.ts';

const words = 'SECRETwordsOFaCONVERSATIONthatNOBODYmaySEEoutsideOFtheMEMORY0042';
const { event, failed, scanned, statusRequest } = controlMessages;

const tools = `
const words = ${JSON.stringify(words)};
const say = (type, value) => {
  const payload = Buffer.from(JSON.stringify(value));
  const head = Buffer.alloc(12);
  head.writeUInt32LE(payload.length, 0);
  head[4] = ${wireVersion};
  head[5] = type;
  process.getBuiltinModule('node:fs').writeSync(${descriptors.control}, Buffer.concat([head, payload]));
};
const print = () => { console.log(words); console.error(words); };
`;
const lateFailure = `say(${failed}, { code: 'L4_' + words.slice(0, 60), message: words, remedy: words });`;
const attacks = {
  gateway: [
    'net',
    `
process.on('SIGUSR2', () => {
  print();
  process.title = words;
  for (const character of words) say(${event}, { code: 'L1_TOKEN_WRONG', count: character.charCodeAt(0) });
  for (let i = 0; i < 20; i += 1) say(${statusRequest}, words);
});
process.on('SIGWINCH', () => { say(${event}, { code: words, count: 1 }); });
`,
  ],
  engine: [
    'jailed',
    `
process.on('SIGUSR2', () => { print(); ${lateFailure} });
process.on('SIGWINCH', () => { print(); process.exit(200); });
`,
  ],
  watchdog: [
    'watch',
    `
process.on('SIGUSR2', () => {
  print();
  for (let epoch = 0; epoch < 6; epoch += 1) for (let at = 0; at < words.length; at += 8) {
    const findings = [{ detector: 'tools', relation: 'able', pid: 1 + at, uid: 0, name: '\\u001b]0;' + words.slice(at, at + 8) + '\\u0007', what: words + '\\u202e', tool: words.slice(0, 32) }];
    for (const some of [findings, []]) say(${scanned}, { epoch, sequence: at, at: 1, scanMs: 1, detections: [{ detector: 'tools', seen: 'full', reason: words, findings: some }] });
  }
});
process.on('SIGWINCH', () => { ${lateFailure} });
`,
  ],
} as const;

let copy: Copy;
before(() => {
  copy = copyInstallation(true);
  for (const [role, [kind, attack]] of Object.entries(attacks)) {
    const path = join(copy.path, 'src', role, 'main.ts');
    const title = `process.title = 'kwyre: ${role} [${kind}]';`;
    editCode(path, title, `${title}${tools}${attack}`);
  }
});
after(() => {
  copy[Symbol.dispose]();
});

/** Everything that a server leaves: its folder, the folders of this boot, what it printed. */
function left(server: Server): string {
  const files = [
    ...readdirSync(server.state)
      .filter((name) => !['token', 'authorization', 'lock'].includes(name))
      .map((name) => join(server.state, name)),
    ...markerPaths(server.state, 0).slice(1),
  ];
  return (
    files
      .map((path) => {
        try {
          return readFileSync(path, 'utf8');
        } catch {
          return ''; // a folder, or not there
        }
      })
      .join('\n') + server.output()
  );
}

function assertClean(server: Server): void {
  const text = left(server);
  for (let at = 0; at + 8 <= words.length; at += 4)
    assert.ok(!text.includes(words.slice(at, at + 8)), `${words.slice(at, at + 8)} was left: ${text.slice(-2000)}`);
  assert.doesNotMatch(text, /[\u001b\u0007\u009b\u202e]/);
}

const linesOf = (server: Server, code: string) =>
  readFileSync(join(server.state, 'events.jsonl'), 'utf8')
    .split('\n')
    .filter((line) => line.includes(`"${code}"`)).length;
const ask = { model: 'guide', max_tokens: 4, messages: [{ role: 'user', content: 'Hello' }] };

/** Runs a server of the copy, and tidies up what a violation leaves for the boot. */
async function withServer(work: (server: Server) => Promise<void>): Promise<void> {
  using state = makeState();
  const server = await startServer({ repository: copy.path, state: state.path });
  const places = markerPaths(state.path, 0);
  try {
    assert.equal((await call(server, '/v1/chat/completions', ask)).status, 200);
    await work(server);
  } finally {
    server.kill();
    for (const path of places.slice(1)) rmSync(path, { force: true });
  }
}

test('a gateway and a watchdog: floods of what is permitted leave a few lines of literals; a code of its own is a breach', async () => {
  await withServer(async (server) => {
    process.kill(server.pids()['watchdog']!, 'SIGUSR2');
    await until('a line of the watchdog', () => linesOf(server, 'L6_SEEN') > 0);
    process.kill(server.pids()['gateway']!, 'SIGUSR2');
    await until('a line of the gateway', () => linesOf(server, 'L1_TOKEN_WRONG') > 0);
    await sleep(500);
    assertClean(server);
    assert.ok(linesOf(server, 'L6_SEEN') <= linesPerHour.seen, `${linesOf(server, 'L6_SEEN')} lines`);
    assert.ok(linesOf(server, 'L1_TOKEN_WRONG') <= linesPerHour.wrongTokens);
    // The gateway's title is its own words now: it is found as the one of the three that is neither engine nor
    // watchdog.
    const { supervisor = 0, engine, watchdog } = server.pids();
    const gateway = readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, 'latin1')
      .trim()
      .split(' ')
      .map(Number)
      .find(
        (pid) =>
          pid !== engine &&
          pid !== watchdog &&
          readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes(words.slice(0, 8)),
      );
    process.kill(gateway!, 'SIGWINCH');
    assert.equal((await server.ended).code, 16, server.output());
    assert.match(server.output(), /WIRE_MESSAGE_SHAPE/);
    assertClean(server);
  });
});

test('an engine: an exit code of its choice is not told, a failure after the start is a breach', async () => {
  await withServer(async (server) => {
    const first = server.pids()['engine']!;
    process.kill(first, 'SIGWINCH');
    const second = await until(
      'another engine',
      () => server.output().includes('1 of 3') && server.pids()['engine'] !== first && server.pids()['engine'],
    );
    assert.doesNotMatch(server.output(), /200\)/);
    assert.equal((await call(server, '/v1/chat/completions', ask)).status, 200);
    process.kill(second, 'SIGUSR2');
    assert.equal((await server.ended).code, 16, server.output());
    assert.match(server.output(), /WIRE_MESSAGE_LATE/);
    assertClean(server);
  });
});

test('a watchdog: a failure after the start is a violation, and no way to be let go in silence', async () => {
  await withServer(async (server) => {
    process.kill(server.pids()['watchdog']!, 'SIGWINCH');
    assert.equal((await server.ended).code, 16, server.output());
    assert.match(server.output(), /L6_WIRE_BREACH/);
    assertClean(server);
  });
});
