/**
 * The supervisor becomes itself once more: a process in which no io_uring was ever made.
 *
 * Node makes rings when it starts, and whoever has one walks around every later filter. So the first image verifies the
 * tree, gives the ring up for all images to come, and what root could do beyond its work; it hands what it verified to the
 * second one in sealed memory.
 *
 * Trust:   whoever starts the supervisor could as well trace it; the descriptor is a word between two images of one process.
 * Source:  io_uring(7), seccomp(2)
 * Proof:   test/attacks/2-supervisor.test.ts
 * @module
 */
import * as fs from 'node:fs';
import { KwyreError } from '../base/errors.ts';
import type { VerifiedTree } from '../layers/3-dependencies/verify.ts';

/** Far above what Node opens by itself. */
const handoverDescriptor = 100;
/** Where a service manager puts the one socket that it hands over; Node marks it as ours alone when it starts. */
const socketDescriptor = 3;
const name = 'kwyre-tree';

type Handed = Omit<VerifiedTree, 'files'> & { readonly files: readonly (readonly [string, string])[] };

/** What the first image verified, or `undefined` in the first image itself. */
export function takeTree(): VerifiedTree | undefined {
  let link: string;
  try {
    link = fs.readlinkSync(`/proc/self/fd/${handoverDescriptor}`);
  } catch {
    return undefined;
  }
  if (!link.startsWith(`/memfd:${name}`)) return undefined;
  const { files, ...rest } = JSON.parse(fs.readFileSync(`/proc/self/fd/${handoverDescriptor}`, 'utf8')) as Handed;
  fs.closeSync(handoverDescriptor);
  return { ...rest, files: new Map(files) };
}

/** Gives io_uring up and starts the second image; does not return. @throws `L2_FEATURE_MISSING` */
export async function startConfined(tree: VerifiedTree): Promise<never> {
  // Third-party code (the foreign function interface) is loaded here, after the tree was verified.
  const [{ forgoPowers, forgoRings }, { sealedBytes }, { closeOnExec, duplicateTo, keepAcrossExec }] = await Promise.all([import('../layers/2-isolation/supervisor.ts'), import('../linux/memfd.ts'), import('../linux/process.ts')]);
  forgoRings();
  forgoPowers();
  const fd = sealedBytes(name, Buffer.from(JSON.stringify({ ...tree, files: [...tree.files] })));
  duplicateTo(fd, handoverDescriptor);
  closeOnExec(fd);
  keepAcrossExec(handoverDescriptor);
  if (process.env['LISTEN_FDS'] !== undefined) keepAcrossExec(socketDescriptor);
  const environment = Object.fromEntries(Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined));
  process.execve?.(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1)], environment);
  throw new KwyreError('L2_FEATURE_MISSING', 'this Node has no execve', 'start with ./kwyre');
}
