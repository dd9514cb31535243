/**
 * Whether a descriptor of another process opens the memory of one of ours. A path says nothing: anybody can make a
 * folder `ENGINEPID` with a file `mem` in it, and open the real one as a path, which reads nothing.
 *
 * Asked is the kernel, by `fdinfo`: how it was opened, on which mount, and which inode. No file system is asked, and no
 * path below a stranger's root is walked, since a file system that a stranger serves need not answer. A table of mounts
 * is as long as its owner likes: it is read once a look, and at most 1 MiB of it.
 *
 * Limits: a second mount of proc is judged by the pid namespace of the process that has it open; a mount beyond the
 *         part of the table that is read counts as taken off.
 * Source: proc_pid_fdinfo(5), proc_pid_mountinfo(5), proc_pid_fd(5)
 * Proof:  test/unit/watchdog/memory-descriptors.test.ts, test/attacks/6-innocents.test.ts
 * @module
 */
import type { ProcReader } from '../linux/procfs/proc-reader.ts';
import type { Mount } from '../linux/procfs/mountinfo.ts';
import { memoryNamed, parseDescriptor } from '../linux/procfs/descriptors.ts';
import { findMount } from '../linux/procfs/mountinfo.ts';

/** The most that is read of one table of mounts, in bytes. */
const mostMounts = 1 << 20;

export class MemoryDescriptors {
  readonly #eyes: ProcReader;
  #mount: number | undefined;
  #device: string | undefined;
  /** The lines of the last table of mounts by id, and whose it is. */
  #mounts: { readonly folder: string; readonly lines: ReadonlyMap<number, string> } | undefined;

  constructor(eyes: ProcReader) {
    this.#eyes = eyes;
  }

  /** A look at a process begins: tables of mounts are read anew. */
  begin(): void {
    this.#mounts = undefined;
  }

  /**
   * Whose memory a descriptor opens, or `undefined`.
   * @param folder - of the process or thread that has it, in `/proc`.
   * @param link - where it points to, in the words of whoever made that path.
   * @param ours - pids and thread ids of ours.
   */
  openedBy(folder: string, fd: string, link: string, ours: ReadonlySet<number>): number | undefined {
    const named = memoryNamed(link);
    if (named === undefined || !ours.has(named.id)) return undefined;
    const text = this.#eyes.readHead(`${folder}/fdinfo/${fd}`);
    const opened = 'value' in text ? parseDescriptor(text.value) : undefined;
    if (opened === undefined || opened.pathOnly) return undefined;
    this.#learnMount();
    // On our own mount of /proc the end of the path is the kernel's word.
    if (opened.mount === this.#mount) return named.id;
    const mount = this.#mountOf(folder, opened.mount);
    if (mount === undefined) return this.#byInode(named.tail, opened.inode, ours); // taken off, or of another namespace
    if (mount.kind !== 'proc') return undefined;
    const tail = mount.root === '/' ? named.tail : mount.root;
    if (mount.device === this.#device) return this.#byInode(tail, opened.inode, ours);
    return this.#sameProcesses(folder) ? ownerOf(tail, ours) : undefined;
  }

  /** The mount of `/proc` that we look through. */
  #learnMount(): void {
    if (this.#mount !== undefined) return;
    const mount = this.#eyes.mount('/proc/uptime');
    if (!('value' in mount)) return;
    this.#mount = mount.value;
    const mounts = this.#eyes.readLong('/proc/self/mountinfo');
    this.#device = 'value' in mounts ? findMount(mounts.value, mount.value)?.device : undefined;
  }

  #byInode(tail: string, inode: number | undefined, ours: ReadonlySet<number>): number | undefined {
    const owner = ownerOf(tail, ours);
    if (owner === undefined || inode === undefined) return undefined;
    const real = this.#eyes.inode(`/proc${tail}`);
    return 'value' in real && real.value === inode ? owner : undefined;
  }

  /**
   * Whether a process numbers processes as we do. Asking its mount of proc (`self`) would ask whatever lies over it.
   */
  #sameProcesses(folder: string): boolean {
    const [theirs, mine] = [this.#eyes.link(`${folder}/ns/pid`), this.#eyes.link('/proc/self/ns/pid')];
    return 'value' in theirs && 'value' in mine && theirs.value === mine.value;
  }

  #mountOf(folder: string, id: number): Mount | undefined {
    if (this.#mounts?.folder !== folder) {
      const text = this.#eyes.readLong(`${folder}/mountinfo`, mostMounts);
      const lines = 'value' in text ? text.value.split('\n') : [];
      this.#mounts = { folder, lines: new Map(lines.map((line) => [Number.parseInt(line, 10), line])) };
    }
    const line = this.#mounts.lines.get(id);
    return line === undefined ? undefined : findMount(line, id);
  }
}

function ownerOf(tail: string, ours: ReadonlySet<number>): number | undefined {
  const named = memoryNamed(tail);
  return named !== undefined && ours.has(named.id) ? named.id : undefined;
}
