/**
 * `kwyre prove`: attacks a second server from this installation as an attacker would, and shows which attempts were
 * stopped.
 *
 * Promise: an attempt that could not be made prints NOT PROVED and makes the exit code non-zero. The second server is
 *          always stopped, even after Ctrl-C. No packet leaves this machine.
 * Proof:   test/e2e/prove.test.ts
 * @module
 */
import { parseArgs } from 'node:util';
import { root } from '../../installation/paths.ts';
import { KwyreError } from '../../base/errors.ts';
import { layerNames } from '../../base/verdict.ts';
import { version } from '../../base/version.ts';
import type { VerifiedTree } from '../../layers/3-dependencies/types.ts';
import { tools } from '../../layers/6-intrusion/known-tools.ts';
import { proveJail } from './jail.ts';
import { proveMemory } from './memory.ts';
import { TargetProcess } from './target-server.ts';
import type { TargetServer } from './target-server.ts';
import { proveLoopback, unprovenLoopback } from './loopback.ts';
import type { Proof, ProvenLayer } from './attempt.ts';
import { exitCodeOf, proofLines, provenLayers, summaryLine } from './attempt.ts';

/** Exit codes after a signal: 128 plus its number, as shells expect. */
const interrupted = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

function parseFlags(args: readonly string[]): { json: boolean; layers: readonly ProvenLayer[] } {
  const usage = new KwyreError(
    'USAGE_PROVE',
    `prove takes --json and --layer ${provenLayers.join('|')}; the other layers have no attempts yet`,
    './kwyre prove --layer 2',
  );
  let values: { json?: boolean; layer?: string };
  try {
    ({ values } = parseArgs({
      args: [...args],
      strict: true,
      options: { json: { type: 'boolean' }, layer: { type: 'string' } },
    }));
  } catch {
    throw usage;
  }
  const layers = provenLayers.filter((layer) => values.layer === undefined || String(layer) === values.layer);
  if (layers.length === 0) throw usage;
  return { json: values.json ?? false, layers };
}

/**
 * Makes every attempt on the given layers.
 * @param begin - called before the attempts on a layer
 * @param tell - called with each result
 */
async function attack(
  tree: VerifiedTree,
  target: TargetProcess,
  layers: readonly ProvenLayer[],
  begin: (layer: ProvenLayer) => void,
  tell: (proofs: readonly Proof[]) => void,
): Promise<Proof[]> {
  const server: TargetServer | undefined = await target.ready();
  const proofs: Proof[] = [];
  for (const layer of layers) {
    begin(layer);
    if (layer === 2) proofs.push(...(await proveJail(root, tree, server, tell)));
    else if (layer === 5)
      proofs.push(
        ...(await proveMemory(server, { folder: target.folder, output: () => target.output }, target.failure, tell)),
      );
    else if (server !== undefined) proofs.push(...(await proveLoopback(server, tell)));
    else {
      const unproven = unprovenLoopback(target.failure);
      for (const proof of unproven) tell([proof]);
      proofs.push(...unproven);
    }
  }
  return proofs;
}

/** Runs `kwyre prove`. */
export async function prove(args: readonly string[], tree: VerifiedTree): Promise<number> {
  const { json, layers } = parseFlags(args);
  // A debugger that is only running on this machine must not stop the server. A debugger that attaches to the server
  // still stops it.
  const target = new TargetProcess(
    root,
    tools.flatMap(({ id }) => ['--acknowledge-tool', id]),
  );
  const stopped = Promise.withResolvers<number>();
  for (const [signal, code] of Object.entries(interrupted)) {
    process.once(signal, () => {
      stopped.resolve(code);
    });
  }
  process.once('exit', () => {
    if (!target.ended) target.kill();
  });
  const print = (text: string): void => {
    if (!json) console.log(text);
  };
  print(`Kwyre ${version}: attacking a second server of this installation; no packet leaves this machine`);
  try {
    const ended = await Promise.race([
      attack(
        tree,
        target,
        layers,
        (layer) => {
          print(`\nlayer ${layer}  ${layerNames[layer]}`);
        },
        (group) => {
          print(proofLines(group));
        },
      ),
      stopped.promise,
    ]);
    if (typeof ended === 'number') {
      console.error('kwyre: interrupted; nothing was proved');
      await target.stop();
      process.exit(ended); // attempts that are still running end with this process
    }
    const exitCode = exitCodeOf(ended);
    if (json) console.log(JSON.stringify({ version, exitCode, proofs: ended }, undefined, 2));
    print(`\n${summaryLine(ended)}`);
    return exitCode;
  } finally {
    await target.stop();
  }
}
