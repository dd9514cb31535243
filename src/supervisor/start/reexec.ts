/**
 * Re-executes the supervisor, so that it runs in an image that has never created an io_uring instance and whose memory
 * is hidden from its own user from the first instruction on.
 *
 * Node creates io_uring instances when it starts, and a process that has one can bypass every filter installed later.
 * So the first image verifies the tree, disables io_uring for all later images, and drops the root capabilities that
 * the server does not need. It passes the verified data to the second image in immutable memory. The second image also
 * runs the verified Node from immutable memory.
 *
 * Trust:   the user who starts the supervisor could just as well trace it; the descriptor only connects two images of
 *          one process.
 * Source:  io_uring(7), seccomp(2), memfd_create(2)
 * Proof:   test/attacks/2-supervisor.test.ts, test/attacks/6-window.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { KwyreError } from '../../base/errors.ts';
import type { VerifiedTree } from '../../layers/3-dependencies/types.ts';
import type { FrozenProgram } from './program-memory.ts';

/** A number far above those of the descriptors that Node opens. */
const handoverDescriptor = 100;
/** The socket that a service manager passes; Node marks it close-on-exec when it starts. */
const socketDescriptor = 3;
const name = 'kwyre-tree';

/** The results of the first image's verification. */
export type Handover = {
  readonly tree: VerifiedTree;
  readonly natives: ReadonlyMap<string, number>;
  /**
   * Whether Node runs from its file, because this kernel cannot run a program from memory. Its user can then inspect
   * the process until it hides itself.
   */
  readonly visible: boolean;
};

type Written = {
  readonly tree: Omit<VerifiedTree, 'files'>;
  readonly files: readonly (readonly [string, string])[];
  readonly natives: readonly (readonly [string, number])[];
  readonly visible: boolean;
};

/** Returns the first image's results, or `undefined` in the first image itself. */
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

/** Disables io_uring and executes the second image; does not return. @throws `L2_FEATURE_MISSING` */
export async function reexec({ tree, natives, node }: FrozenProgram): Promise<never> {
  // These import third-party code (the foreign function interface), which has already been verified.
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
