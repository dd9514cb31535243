/**
 * Detects open descriptors of another process that refer to the memory of one of the server's processes. A path proves
 * nothing: any user can create a folder `ENGINEPID` with a file `mem`, and a descriptor opened with O_PATH can read
 * nothing.
 *
 * Instead, this module reads `fdinfo`, where the kernel reports the file's open flags, mount and inode. No file system
 * is queried and no path below another process's root is followed, because a file system served by a user (FUSE) might
 * never answer. A user can make a mount table arbitrarily long, so it is read once per process, and at most 1 MiB of
 * it.
 *
 * Limits: for a second mount of proc, the pid namespace of the process that has the file open is decisive. A mount
 *         beyond the part of the table that is read counts as unmounted.
 * Source: proc_pid_fdinfo(5), proc_pid_mountinfo(5), proc_pid_fd(5)
 * Proof:  test/unit/watchdog/memory-descriptors.test.ts, test/attacks/6-innocents.test.ts
 * @module
 */
import type { ProcReader } from '../linux/procfs/proc-reader.ts';
import type { Mount } from '../linux/procfs/mountinfo.ts';
import { memoryNamed, parseDescriptor } from '../linux/procfs/descriptors.ts';
import { findMount } from '../linux/procfs/mountinfo.ts';

/** Maximum number of bytes read from one mount table. */
const mostMounts = 1 << 20;

export class MemoryDescriptors {
  readonly #proc: ProcReader;
  #mount: number | undefined;
  #device: string | undefined;
  /** The lines of the last mount table by mount id, and the process it belongs to. */
  #mounts: { readonly folder: string; readonly lines: ReadonlyMap<number, string> } | undefined;

  constructor(proc: ProcReader) {
    this.#proc = proc;
  }

  /** Discards the last mount table; must be called before each process. */
  begin(): void {
    this.#mounts = undefined;
  }

  /**
   * Returns the pid of the server's process whose memory a descriptor opens, or `undefined`.
   * @param folder - the folder of the process or thread in `/proc`
   * @param link - the target of the descriptor's link; another user may have chosen that path
   * @param ownPids - pids and thread ids of the server
   */
  openedBy(folder: string, fd: string, link: string, ownPids: ReadonlySet<number>): number | undefined {
    const named = memoryNamed(link);
    if (named === undefined || !ownPids.has(named.id)) return undefined;
    const text = this.#proc.readHead(`${folder}/fdinfo/${fd}`);
    const opened = 'value' in text ? parseDescriptor(text.value) : undefined;
    if (opened === undefined || opened.pathOnly) return undefined;
    this.#learnMount();
    // On this process's own mount of /proc, the end of the path comes from the kernel.
    if (opened.mount === this.#mount) return named.id;
    const mount = this.#mountOf(folder, opened.mount);
    if (mount === undefined) return this.#byInode(named.tail, opened.inode, ownPids); // a mount in another namespace
    if (mount.kind !== 'proc') return undefined;
    const tail = mount.root === '/' ? named.tail : mount.root;
    if (mount.device === this.#device) return this.#byInode(tail, opened.inode, ownPids);
    return this.#sameProcesses(folder) ? ownerOf(tail, ownPids) : undefined;
  }

  /** Finds the mount of `/proc` that this process uses. */
  #learnMount(): void {
    if (this.#mount !== undefined) return;
    const mount = this.#proc.mount('/proc/uptime');
    if (!('value' in mount)) return;
    this.#mount = mount.value;
    const mounts = this.#proc.readLong('/proc/self/mountinfo');
    this.#device = 'value' in mounts ? findMount(mounts.value, mount.value)?.device : undefined;
  }

  #byInode(tail: string, inode: number | undefined, ownPids: ReadonlySet<number>): number | undefined {
    const owner = ownerOf(tail, ownPids);
    if (owner === undefined || inode === undefined) return undefined;
    const real = this.#proc.inode(`/proc${tail}`);
    return 'value' in real && real.value === inode ? owner : undefined;
  }

  /**
   * Returns whether a process is in the same pid namespace. Its mount of proc is not used for this, because something
   * else may be mounted over it.
   */
  #sameProcesses(folder: string): boolean {
    const [theirs, mine] = [this.#proc.link(`${folder}/ns/pid`), this.#proc.link('/proc/self/ns/pid')];
    return 'value' in theirs && 'value' in mine && theirs.value === mine.value;
  }

  #mountOf(folder: string, id: number): Mount | undefined {
    if (this.#mounts?.folder !== folder) {
      const text = this.#proc.readLong(`${folder}/mountinfo`, mostMounts);
      const lines = 'value' in text ? text.value.split('\n') : [];
      this.#mounts = { folder, lines: new Map(lines.map((line) => [Number.parseInt(line, 10), line])) };
    }
    const line = this.#mounts.lines.get(id);
    return line === undefined ? undefined : findMount(line, id);
  }
}

function ownerOf(tail: string, ownPids: ReadonlySet<number>): number | undefined {
  const named = memoryNamed(tail);
  return named !== undefined && ownPids.has(named.id) ? named.id : undefined;
}
