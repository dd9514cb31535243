/**
 * `test/run soak [--minutes 30] [--scan-interval 5000]`: a real server under ordinary life, and no false alarm.
 *
 * Conversations without a pause; a machine that is busy by turns, with programs that come and go; the users of packet
 * sockets that every machine has (a DHCP client, Wi-Fi keys, LLDP, ping, `ip monitor`), in the server's own network
 * when root runs this; and once a minute a suspension of an hour by the two clocks, as the watchdog would see it. Every
 * word of the watchdog counts as a false alarm. Prints a line a minute and one JSON line at the end; exit code 1 after
 * any alarm, any failed turn or an early end.
 * @module
 */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { uptime } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { detectGap } from '../../src/layers/6-intrusion/detectors/lost-time.ts';
import { endWithUs } from '../support/children.ts';
import type { Server } from '../support/server.ts';
import { call, startServer, tree } from '../support/server.ts';

const { values: flags } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    'scan-interval': { type: 'string', default: '5000' },
    inside: { type: 'boolean', default: false },
  },
});
const minutes = Math.min(24 * 60, Math.max(0.1, Number(flags.minutes)));
const asRoot = process.getuid?.() === 0;

/** A network of our own, with an ordinary interface in it, and this program again inside. */
const network = `ip link set lo up
ip link add wire0 type veth peer name wire1
ip addr add 10.79.0.1/24 dev wire0
ip link set wire0 up
ip link set wire1 up
exec "$@"`;
if (asRoot && !flags.inside) {
  const ran = spawnSync(
    'unshare',
    [
      '-n',
      'sh',
      '-ec',
      network,
      'sh',
      process.execPath,
      ...process.execArgv,
      import.meta.filename,
      '--inside',
      ...process.argv.slice(2),
    ],
    { stdio: 'inherit' },
  );
  process.exit(ran.status ?? 1);
}

const neighbours = `import socket, time
kept = []
def add(family, kind, protocol, *address):
    s = socket.socket(family, kind, protocol)
    if address: s.bind(address)
    kept.append(s)
add(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800), 'wire0', 0x0800)
add(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806), 'wire0', 0x0806)
add(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x888e))
add(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88cc))
add(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003), 'wire0', 0x0003)
add(socket.AF_INET, socket.SOCK_RAW, 1)
add(socket.AF_NETLINK, socket.SOCK_RAW, 0, 0, 0)
print(len(kept), flush=True)
time.sleep(${Math.ceil(minutes * 60) + 120})`;

const children = new Set<ChildProcess>();
function begin(file: string, args: readonly string[], output: 'ignore' | 'pipe' = 'ignore'): ChildProcess {
  const child = spawn(file, args, { stdio: ['ignore', output, 'ignore'] });
  endWithUs(child);
  children.add(child);
  child.once('close', () => children.delete(child));
  return child;
}

const counts = { turns: 0, conversations: 0, failed: 0, programs: 0, suspensions: 0 };
const failures: string[] = [];
const alarms: string[] = [];
let packetUsers = 0;

/** One conversation of some turns, some of them streamed, now and then cut in the middle. */
async function converse(server: Server, seed: number): Promise<void> {
  let session = 'new';
  for (let turn = 0; turn < 3; turn += 1) {
    const body = {
      model: 'guide',
      max_tokens: 24,
      stream: (seed + turn) % 2 === 0,
      messages: [{ role: 'user', content: `Number ${seed}: what does layer ${1 + ((seed + turn) % 6)} do?` }],
    };
    const answer = await call(server, '/v1/chat/completions', body, { headers: { 'kwyre-session': session } });
    session = answer.headers.get('kwyre-session') ?? session;
    const text = await answer.text();
    if (answer.status !== 200) throw new Error(`status ${answer.status} ${/"code": ?"(\w+)"/.exec(text)?.[1] ?? ''}`);
    counts.turns += 1;
  }
  counts.conversations += 1;
}

/** Keeps conversations coming until `end`. */
async function talk(server: Server, end: number, first: number): Promise<void> {
  for (let seed = first; performance.now() < end; seed += 2) {
    try {
      await converse(server, seed);
    } catch (error) {
      counts.failed += 1;
      if (failures.length < 20) failures.push(error instanceof Error ? error.message : 'error');
    }
    await sleep(500);
  }
}

/** Busy by turns: 20 seconds of every minute two programs calculate, and at any time short ones come and go. */
async function bustle(end: number): Promise<void> {
  for (let round = 0; performance.now() < end; round += 1) {
    if (round % 240 === 0)
      for (let i = 0; i < 2; i += 1)
        begin(process.execPath, ['-e', 'const end = Date.now() + 20000; while (Date.now() < end) Math.sqrt(end)']);
    begin('sh', ['-c', 'ls /proc >/dev/null; sleep 0.05']);
    counts.programs += 1;
    await sleep(250);
  }
}

const clocks = () => ({ monotonic: performance.now(), boot: uptime() * 1000, runnable: 0 });

/** The lid closed for an hour between two scans, by the clocks of this machine. */
async function suspend(intervalMs: number): Promise<void> {
  const before = clocks();
  await sleep(1000);
  const now = clocks();
  const { findings } = detectGap(
    before,
    { monotonic: now.monotonic + intervalMs, boot: now.boot + intervalMs + 3_600_000, runnable: 0 },
    intervalMs,
    { role: 'watchdog', pid: 0, uid: 0 },
  );
  counts.suspensions += 1;
  for (const finding of findings) alarms.push(`suspension: ${finding.what}`);
}

/** Lateness of this program's own clockwork that only a machine that stood still explains. */
const pauseMs = 3000;
const pauses: number[] = [];
let ticked = performance.now();
setInterval(() => {
  const late = performance.now() - ticked - 250;
  ticked = performance.now();
  if (late > pauseMs) pauses.push(Math.round(late));
}, 250).unref();

/** The watchdog's own words in the event log: what is an alarm, what a pause of the machine, what a tool of others. */
function heard(server: Server): {
  readonly alarms: readonly string[];
  readonly pauses: number;
  readonly tools: number;
} {
  const lines = readFileSync(join(server.state, 'events.jsonl'), 'latin1')
    .split('\n')
    .filter((line) => line.includes('"L6_') && !line.includes('"L6_LEVEL_CLEAN"'));
  const tools = lines.filter((line) => line.includes('"L6_SEEN"') && line.includes('"detector":"tools"'));
  const stops = lines.filter((line) => line.includes('"L6_SEEN"') && line.includes('"detector":"clock"'));
  // A stop is seen by the watchdog and by the supervisor, each once, and raises the level once.
  const explained = pauses.length > 0 && stops.length <= 2 * pauses.length;
  const levels = lines.filter((line) => line.includes('"L6_LEVEL_DETECTED"'));
  const known = new Set([...tools, ...(explained && levels.length <= pauses.length ? [...stops, ...levels] : [])]);
  return { alarms: lines.filter((line) => !known.has(line)), pauses: stops.length, tools: tools.length };
}

const processorSeconds = (pid: number): number =>
  readdirSync(`/proc/${pid}/task`).reduce(
    (sum, tid) => sum + Number(readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'latin1').split(' ')[0]) / 1e9,
    0,
  );
const residentMb = (pid: number): number =>
  Number(/^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1] ?? 0) / 1024;

if (asRoot) {
  const users = begin('python3', ['-c', neighbours], 'pipe');
  users.stdout?.once('data', (chunk: Buffer) => (packetUsers = Number(chunk.toString())));
}
const server = await startServer({ args: ['--scan-interval', flags['scan-interval']] });
const { watchdog = 0 } = server.pids();
const began = performance.now();
const end = began + minutes * 60_000;
const ended = new AbortController();
void server.ended.then(() => {
  ended.abort();
});
const over = () => ended.signal.aborted;
const work = [talk(server, end, 0), talk(server, end, 1), bustle(end)];
let cpu = 0;
let pss = 0;
while (performance.now() < end && !over()) {
  await sleep(Math.min(58_000, Math.max(0, end - performance.now())));
  if (over()) break;
  await suspend(Number(flags['scan-interval']));
  [cpu, pss] = asRoot ? [processorSeconds(watchdog), residentMb(watchdog)] : [0, 0];
  console.log(
    `${((performance.now() - began) / 60_000).toFixed(1)} min: ${counts.conversations} conversations, ${counts.turns} turns, ${counts.failed} failed, ${counts.programs} programs came and went, ${heard(server).alarms.length + alarms.length} alarms, ${pauses.length} pauses of the machine, ${tree(server.pid).length} processes of ours`,
  );
}
const lived = !over();
const words = heard(server);
alarms.push(...words.alarms);
const ran = (performance.now() - began) / 60_000;
if (over()) console.error(server.output().slice(-2000));
else await Promise.all(work);
const ending = await server.stop();
for (const child of children) child.kill('SIGKILL');
const held = lived && alarms.length === 0 && counts.failed === 0 && ending.code === 0 && (!asRoot || packetUsers === 7);
for (const line of [...alarms.slice(0, 20), ...failures]) console.error(line);
console.log(
  JSON.stringify({
    soak: 'layers 2 and 6',
    minutes: Number(ran.toFixed(1)),
    ...counts,
    packetUsers,
    alarms: alarms.length,
    pausesOfTheMachine: pauses,
    stopsSeen: words.pauses,
    toolsOfOthersSeen: words.tools,
    endedEarly: !lived,
    exitCode: ending.code,
    watchdogCpuPercentOfOneCore: Number(((100 * cpu) / (ran * 60)).toFixed(3)),
    watchdogPssMb: Number(pss.toFixed(1)),
    held,
  }),
);
process.exit(held ? 0 : 1);
