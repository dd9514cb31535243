/**
 * Checks that this process runs the program that was verified, and is hidden from its user's other programs.
 *
 * Proof: test/attacks/3-mapped.test.ts, test/attacks/6-window.test.ts
 * @module
 */
import { fstatSync, statSync } from 'node:fs';
import { KwyreError } from '../../base/errors.ts';
import { assertMapped } from '../../installation/own-tree.ts';
import { identityOf } from '../../layers/3-dependencies/native-code.ts';
import { closeOnExec, isDumpable } from '../../linux/process.ts';
import { ownProgram } from '../roles/role-process.ts';
import type { Handover } from './reexec.ts';

/** Checks this process's code mappings, and that it is hidden. @throws `L3_*`, `L2_PROCESS_VISIBLE` */
export function assertOwnProgram({ tree, natives }: Handover): void {
  const fds = [...natives.values()];
  for (const fd of fds) closeOnExec(fd);
  assertMapped(tree, new Set([statSync(ownProgram), ...fds.map((fd) => fstatSync(fd))].map(identityOf)));
  if (isDumpable())
    throw new KwyreError(
      'L2_PROCESS_VISIBLE',
      'the supervisor cannot hide its memory from other programs of its user',
      'start it outside restrictive containers',
    );
}
