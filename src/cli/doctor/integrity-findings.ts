/**
 * `kwyre doctor`, layers 3 and 4: Node, packages, models, and leases on their files. Pure.
 *
 * Proof: test/unit/cli/checks.test.ts
 * @module
 */
import type { Finding, HostFacts } from './types.ts';

const reinstall = 'npm ci --omit=dev --ignore-scripts --no-bin-links';

function leases({ leases: setting }: HostFacts): Finding {
  const on = setting?.trim() === '1';
  return {
    id: 'leases',
    layer: 4,
    title: 'the kernel reports an attempt to write the weights (file leases)',
    status: on ? 'full' : 'less',
    reason: on
      ? 'leases are on'
      : 'leases are off; weights that fit are served from an immutable memfd, larger ones from a file that is watched',
    remedy: on ? '' : 'sudo sysctl fs.leases-enable=1',
  };
}

function node({ node: { running, pinned, ownBinary } }: HostFacts): Finding {
  const fits = ownBinary && pinned !== undefined && running === `v${pinned}`;
  return {
    id: 'node',
    layer: 3,
    title: 'the pinned version of Node',
    status: fits ? 'full' : 'none',
    reason: fits ? `${running}, from this installation` : `${running} is running, ${pinned ?? 'none'} is pinned`,
    remedy: fits ? '' : `start with ./kwyre; if that does not help: ${reinstall}`,
  };
}

function engine({ engine: { name, present } }: HostFacts): Finding {
  return {
    id: 'engine',
    layer: 3,
    title: "the engine's libraries for this machine",
    status: present ? 'full' : 'none',
    reason: `${name} is ${present ? 'installed' : 'missing'}`,
    remedy: present ? '' : reinstall,
  };
}

function packages({ treeFault: fault }: HostFacts): Finding {
  return {
    id: 'packages',
    layer: 3,
    title: 'every installed package is the published one',
    status: fault === undefined ? 'full' : 'none',
    reason: fault ?? 'every file was compared just now',
    remedy: fault === undefined ? '' : './kwyre deps verify lists the files that differ',
  };
}

/** Returns the findings about whether the files are the published and approved ones. */
export function integrityFindings(facts: HostFacts): Finding[] {
  return [
    leases(facts),
    node(facts),
    engine(facts),
    packages(facts),
    ...facts.models.map(({ name, fault }): Finding => ({
      id: `model.${name}`,
      layer: 4,
      title: `the model ${name}`,
      status: fault === undefined ? 'full' : 'none',
      reason: fault ?? 'every byte was compared just now',
      remedy: fault === undefined ? '' : `./kwyre model verify ${name}`,
    })),
  ];
}
