/**
 * `kwyre prove`: attacks a second instance of this installation, as an attacker would, and shows what was stopped.
 *
 * Promise: whatever could not be tried prints NOT PROVED and ends non-zero; the second instance is always ended, also
 *          by Ctrl-C. Every packet of an attempt stays on this machine.
 * Proof:   test/e2e/prove.test.ts
 * @module
 */
import { parseArgs } from 'node:util';
import { root } from '../../installation/paths.ts';
import { KwyreError } from '../../base/errors.ts';
import { layerNames } from '../../base/verdict.ts';
import { version } from '../../base/version.ts';
import type { VerifiedTree } from '../../layers/3-dependencies/tree-verifier.ts';
import { tools } from '../../layers/6-intrusion/known-tools.ts';
import { proveConfinement } from './jail.ts';
import { proveForgetting } from './memory.ts';
import { Instance } from './target-server.ts';
import type { Running } from './target-server.ts';
import { proveLoopback, unprovenLoopback } from './loopback.ts';
import type { Proof, ProvenLayer } from './attempt.ts';
import { exitCodeOf, proofLines, provenLayers, summaryLine } from './attempt.ts';

/** What a shell expects of a program that a signal ended. */
const interrupted = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

function parseFlags(args: readonly string[]): { json: boolean; layers: readonly ProvenLayer[] } {
  const usage = new KwyreError(
    'USAGE_PROVE',
    `prove takes --json and --layer with ${provenLayers.join(', ')}; the other layers have no attempts yet`,
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

/** Every attempt of the wanted layers. */
async function attack(
  tree: VerifiedTree,
  instance: Instance,
  layers: readonly ProvenLayer[],
  head: (layer: ProvenLayer) => void,
  tell: (proofs: readonly Proof[]) => void,
): Promise<Proof[]> {
  const server: Running | undefined = await instance.ready();
  const proofs: Proof[] = [];
  for (const layer of layers) {
    head(layer);
    if (layer === 2) proofs.push(...(await proveConfinement(root, tree, server, tell)));
    else if (layer === 5)
      proofs.push(
        ...(await proveForgetting(
          server,
          { folder: instance.folder, said: () => instance.said },
          instance.words,
          tell,
        )),
      );
    else if (server !== undefined) proofs.push(...(await proveLoopback(server, tell)));
    else {
      const unproven = unprovenLoopback(instance.words);
      for (const proof of unproven) tell([proof]);
      proofs.push(...unproven);
    }
  }
  return proofs;
}

/** Runs `kwyre prove`. */
export async function prove(args: readonly string[], tree: VerifiedTree): Promise<number> {
  const { json, layers } = parseFlags(args);
  // A debugger beside it says nothing about these layers; one that touches it ends it all the same.
  const instance = new Instance(
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
    if (!instance.over) instance.kill();
  });
  const print = (text: string): void => {
    if (!json) console.log(text);
  };
  print(`Kwyre ${version}: attacks on a second server of this installation; every packet stays on this machine`);
  try {
    const ended = await Promise.race([
      attack(
        tree,
        instance,
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
      await instance.stop();
      process.exit(ended); // what is still being tried ends with us
    }
    const exitCode = exitCodeOf(ended);
    if (json) console.log(JSON.stringify({ version, exitCode, proofs: ended }, undefined, 2));
    print(`\n${summaryLine(ended)}`);
    return exitCode;
  } finally {
    await instance.stop();
  }
}
