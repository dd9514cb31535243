/**
 * Layers 3 and 4: how fast bytes are verified, and what that adds to a start. Ratios belong to one run on one machine.
 *
 *   node test/bench/integrity.ts [megabytes, 1024] [rounds, 5]
 *
 * The first round warms up and is not counted; medians of the others. "Without" is the start less what both layers say
 * that they took: there is no switch that leaves them out.
 * @module
 */
import { spawnSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import * as fs from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeInstallation, verifyInstallation } from '../../src/layers/3-dependencies/installation.ts';
import { loadSealed } from '../../src/layers/4-model/immutable-weights.ts';
import { Hasher } from '../../src/oms/tree-reader.ts';
import { faultsOf } from '../../src/oms/verification-error.ts';
import { hashJobs } from '../../src/oms/hash-pool.ts';
import { call, startServer } from '../support/server.ts';
import { median } from './run.ts';

const megabytes = Math.min(8192, Math.max(64, Number(process.argv[2] ?? 1024)));
const rounds = Math.min(25, Math.max(1, Number(process.argv[3] ?? 5)));
const root = join(import.meta.dirname, '..', '..');
const folder = fs.mkdtempSync(join(tmpdir(), 'kwyre-bench-'));
process.once('exit', () => {
  fs.rmSync(folder, { recursive: true, force: true });
});
const path = join(folder, 'weights');
const size = megabytes * 1_000_000;
const piece = randomFillSync(Buffer.allocUnsafeSlow(1_000_000));
const out = fs.openSync(path, 'w');
for (let i = 0; i < megabytes; i += 1) fs.writeSync(out, piece);
fs.closeSync(out);
const fd = fs.openSync(path, 'r');
const load = loadavg()[0] ?? 0;

const seen: Record<string, number[]> = {};
/** Megabytes per second of one run. */
async function speed(name: string, round: number, run: () => unknown): Promise<void> {
  const from = performance.now();
  await run();
  if (round > 0) (seen[name] ??= []).push(megabytes / ((performance.now() - from) / 1000));
}
const keep = (name: string, round: number, value: number): void => {
  if (round > 0) (seen[name] ??= []).push(value);
};

// As a manifest by shards has them: whoever is free takes the next one.
const shardBytes = 32_000_000;
const shards = Array.from({ length: Math.ceil(size / shardBytes) }, (_, index) => ({
  fd,
  start: index * shardBytes,
  end: Math.min(size, (index + 1) * shardBytes),
}));
let flat = 0;
for (let round = 0; round <= rounds; round += 1) {
  const { stdout } = spawnSync('openssl', ['speed', '-mr', '-seconds', '1', '-bytes', '16384', '-evp', 'sha256'], {
    encoding: 'utf8',
  });
  keep('openssl', round, Number(/^\+F:.*:([\d.]+)$/m.exec(stdout)?.[1] ?? NaN) / 1e6);
  const before = process.memoryUsage.rss();
  await speed('one core', round, () => new Hasher(fs).whole(fd));
  if (round > 0) flat = Math.max(flat, process.memoryUsage.rss() - before);
  await speed('two cores by shards', round, () => hashJobs(fs, shards, size, 2));
  await speed('sealed memory', round, async () => {
    fs.closeSync((await loadSealed(fs, fd, size, undefined, faultsOf(4, ''))).fd);
  });
  const order = describeInstallation(fs, process, root);
  // The Node of a bench has other flags and libraries than a server: only the files matter here.
  keep(
    'layer 3, s',
    round,
    verifyInstallation(
      { ...order, running: { ...order.running, flags: [], environment: {}, maps: '' } },
      undefined,
      new Date(),
    ).evidence.seconds,
  );
  const from = performance.now();
  const server = await startServer();
  const whole = (performance.now() - from) / 1000;
  const status = (await (await call(server, '/kwyre/status')).json()) as {
    layers: { layer: number; checks: { evidence: string }[] }[];
  };
  await server.stop();
  const spent = status.layers
    .filter(({ layer }) => layer === 3 || layer === 4)
    .flatMap(({ checks }) => checks)
    .reduce((sum, { evidence }) => sum + Number(/ bytes in ([\d.]+) s/.exec(evidence)?.[1] ?? 0), 0);
  keep('start, s', round, whole);
  keep('start, with / without', round, whole / (whole - spent));
}
const of = (name: string): number => median(seen[name] ?? []);
for (const [name, values] of Object.entries(seen))
  console.log(
    `${name}: ${median(values).toFixed(2)} (${Math.min(...values).toFixed(2)}-${Math.max(...values).toFixed(2)})`,
  );
console.log(
  `one core / openssl speed ${(of('one core') / of('openssl')).toFixed(2)}; two cores / one ${(of('two cores by shards') / of('one core')).toFixed(2)}; time of sealed memory / hashing alone ${(of('one core') / of('sealed memory')).toFixed(2)}; memory of hashing ${megabytes} MB: ${(flat / 2 ** 20).toFixed(1)} MiB; load of the machine at the start ${load.toFixed(1)}`,
);
