/**
 * The supervisor becomes itself once more: a process in which no io_uring was ever made, and whose memory its own user
 * may not read from its first instruction on.
 *
 * Node makes rings when it starts, and whoever has one walks around every later filter. So the first image verifies the
 * tree, gives the ring up for all images to come, and what root could do beyond its work; it hands what it verified to
 * the second one in sealed memory, and the second one runs the Node that was hashed, from sealed memory too.
 *
 * Trust:   whoever starts the supervisor could as well trace it; the descriptor is a word between two images of one
 *          process.
 * Source:  io_uring(7), seccomp(2), memfd_create(2)
 * Proof:   test/attacks/2-supervisor.test.ts, test/attacks/6-window.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { KwyreError } from '../../base/errors.ts';
import type { VerifiedTree } from '../../layers/3-dependencies/types.ts';
import type { FrozenProgram } from './program-memory.ts';

/** Far above what Node opens by itself. */
const handoverDescriptor = 100;
/** Where a service manager puts the one socket that it hands over; Node marks it as ours alone when it starts. */
const socketDescriptor = 3;
const name = 'kwyre-tree';

/** What the first image verified and sealed. */
export type Handover = {
  readonly tree: VerifiedTree;
  readonly natives: ReadonlyMap<string, number>;
  /**
   * Whether Node runs from its file, since this kernel runs no program from memory: its user may look into it at first.
   */
  readonly visible: boolean;
};

type Written = {
  readonly tree: Omit<VerifiedTree, 'files'>;
  readonly files: readonly (readonly [string, string])[];
  readonly natives: readonly (readonly [string, number])[];
  readonly visible: boolean;
};

/** What the first image handed over, or `undefined` in the first image itself. */
export function takeHandover(): Handover | undefined {
  let link: string;
  try {
    link = fs.readlinkSync(`/proc/self/fd/${handoverDescriptor}`);
  } catch {
    return undefined;
  }
  if (!link.startsWith(`/memfd:${name}`)) return undefined;
  const { tree, files, natives, visible } = JSON.parse(
    fs.readFileSync(`/proc/self/fd/${handoverDescriptor}`, 'utf8'),
  ) as Written;
  fs.closeSync(handoverDescriptor);
  return { tree: { ...tree, files: new Map(files) }, natives: new Map(natives), visible };
}

/** Gives io_uring up and starts the second image; does not return. @throws `L2_FEATURE_MISSING` */
export async function reexec({ tree, natives, node }: FrozenProgram): Promise<never> {
  // Third-party code (the foreign function interface) was loaded after it was compared.
  const [{ limitPrivileges, disableIoUring }, { sealedBytes }, { closeOnExec, duplicateTo, keepAcrossExec }] =
    await Promise.all([
      import('../../layers/2-isolation/jail/supervisor-filter.ts'),
      import('../../linux/memory/memfd.ts'),
      import('../../linux/process.ts'),
    ]);
  disableIoUring();
  limitPrivileges();
  const { files, ...rest } = tree;
  const written: Written = { tree: rest, files: [...files], natives: [...natives], visible: node === undefined };
  const fd = sealedBytes(name, Buffer.from(JSON.stringify(written)));
  duplicateTo(fd, handoverDescriptor);
  closeOnExec(fd);
  for (const each of [handoverDescriptor, ...natives.values()]) keepAcrossExec(each);
  if (process.env['LISTEN_FDS'] !== undefined) keepAcrossExec(socketDescriptor);
  const environment = Object.fromEntries(
    Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
  process.execve?.(
    node === undefined ? process.execPath : `/proc/self/fd/${node}`,
    [process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    environment,
  );
  throw new KwyreError('L2_FEATURE_MISSING', 'this Node has no execve', 'start with ./kwyre');
}
