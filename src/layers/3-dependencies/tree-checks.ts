/**
 * The status checks for a verified tree.
 *
 * Proof: test/unit/layers/3-tree-access.test.ts, test/attacks/3-system.test.ts
 * @module
 */
import type * as fs from 'node:fs';
import type { Check } from '../../base/verdict.ts';
import type { TreeEvidence } from '../../oms/manifest-verifier.ts';
import { printable } from '../../oms/verification-error.ts';
import type { RuntimeEvidence } from './runtime-check.ts';
import type { Access } from './tree-access.ts';
import type { TreeInput, VerifiedTree } from './types.ts';

/** Returns the checks for an unsigned tree. */
export function unsignedTreeChecks(
  input: TreeInput,
  evidence: TreeEvidence,
  access: Access,
  digest: string,
  seconds: number,
  runtime: RuntimeEvidence,
): Check[] {
  const at = input.now();
  return [
    {
      id: 'third-party-tree',
      status: access.rootOnly ? 'enforced' : 'degraded',
      evidence: [
        `${evidence.files} files, ${evidence.bytes} bytes hashed in ${seconds.toFixed(2)} s, all as published`,
        `root sha256:${digest}`,
        ...(access.rootOnly ? [] : [access.reason]),
      ].join('; '),
      at,
    },
    ...runtimeChecks(input, 'verified', runtime, at),
    {
      id: 'own-code',
      status: 'degraded',
      evidence: "Kwyre's own files are not signed; ./kwyre deps seal signs them",
      at,
    },
    ...rightsChecks(evidence, at),
  ];
}

/** Returns the checks for Node, for the mapped system libraries, and for libraries that the system preloads. */
export function runtimeChecks(
  input: Pick<TreeInput, 'disk'>,
  which: 'verified' | 'signed',
  { libraries, wide }: RuntimeEvidence,
  at: number,
): Check[] {
  const preloaded = readPreload(input.disk);
  return [
    {
      id: 'runtime',
      status: wide === '' ? 'enforced' : 'degraded',
      evidence: [
        `runs the ${which} Node with no unknown flag; ${libraries.length} system libraries are mapped`,
        wide === '' ? 'only root can write them' : `a user other than root can write one: ${wide}`,
      ].join('; '),
      at,
    },
    ...(preloaded === ''
      ? []
      : [
          {
            id: 'preload',
            status: 'degraded' as const,
            evidence: `/etc/ld.so.preload loads libraries into every program: ${preloaded}`,
            at,
          },
        ]),
  ];
}

/** Returns the libraries in /etc/ld.so.preload; empty if there are none. */
function readPreload(disk: Pick<typeof fs, 'readFileSync'>): string {
  let text: string;
  try {
    text = disk.readFileSync('/etc/ld.so.preload', 'utf8');
  } catch {
    return '';
  }
  return printable(
    text
      .replace(/#.*$/gm, '')
      .split(/[\s:]+/)
      .filter((name) => name !== '')
      .join(', '),
  ).slice(0, 512);
}

/** Returns the check for the verifier itself: the other checks are only as reliable as the program that makes them. */
export function programCheck({ signed, access }: Pick<VerifiedTree, 'signed' | 'access'>, at: number): Check {
  const good = signed && access.rootOnly;
  const reasons = [
    ...(signed ? [] : ['it is not signed (./kwyre deps seal)']),
    ...(access.rootOnly ? [] : [access.reason]),
  ];
  return {
    id: 'program',
    status: good ? 'enforced' : 'degraded',
    evidence: good
      ? 'the verifier and its constants are signed, and only root can change them'
      : `the verifier and its constants could be replaced: ${reasons.join('; ')}`,
    at,
  };
}

/** Returns the checks for permissions that are wider than necessary. */
export function rightsChecks(evidence: TreeEvidence, at: number): Check[] {
  return [
    ...(evidence.groupWritable > 0
      ? [
          {
            id: 'group-writable',
            status: 'degraded' as const,
            evidence: `${evidence.groupWritable} files are group-writable`,
            at,
          },
        ]
      : []),
    ...(evidence.hardLinks > 0
      ? [
          {
            id: 'hard-links',
            status: 'degraded' as const,
            evidence: `${evidence.hardLinks} files can also be changed through hard links elsewhere`,
            at,
          },
        ]
      : []),
  ];
}
