/**
 * Whether a descriptor of another process opens the memory of one of ours. A path says nothing: anybody can make a folder
 * `ENGINEPID` with a file `mem` in it, and open the real one as a path, which reads nothing.
 *
 * Asked is the kernel, by `fdinfo`: how it was opened, on which mount, and which inode. No file system is asked, since
 * one that a stranger serves need not answer.
 *
 * Source: proc_pid_fdinfo(5), proc_pid_mountinfo(5), proc_pid_fd(5)
 * Proof:  test/unit/watchdog/memory.test.ts, test/attacks/6-innocents.test.ts
 * @module
 */
import type { Eyes } from '../linux/proc.ts';
import { fromShown } from '../linux/shown.ts';
import { findMount, memoryNamed, parseDescriptor } from '../linux/tasks.ts';

export class OurMemory {
  readonly #eyes: Eyes;
  readonly #self: number;
  #mount: number | undefined;
  #device: string | undefined;

  /** @param self - the pid of the process that looks. */
  constructor(eyes: Eyes, self: number) {
    this.#eyes = eyes;
    this.#self = self;
  }

  /**
   * Whose memory a descriptor opens, or `undefined`.
   * @param folder - of the process or thread that has it, in `/proc`.
   * @param link - where it points to, in the words of whoever made that path.
   * @param ours - pids and thread ids of ours.
   */
  openedBy(folder: string, fd: string, link: string, ours: ReadonlySet<number>): number | undefined {
    const named = memoryNamed(link);
    if (named === undefined) return undefined;
    const text = this.#eyes.readHead(`${folder}/fdinfo/${fd}`);
    const opened = 'value' in text ? parseDescriptor(text.value) : undefined;
    if (opened === undefined || opened.pathOnly) return undefined;
    this.#learnMount();
    // On our own mount of /proc the end of the path is the kernel's word.
    if (opened.mount === this.#mount) return ours.has(named.id) ? named.id : undefined;
    const mounts = this.#eyes.readLong(`${folder}/mountinfo`);
    const mount = 'value' in mounts ? findMount(mounts.value, opened.mount) : undefined;
    if (mount === undefined) return this.#byInode(named.tail, opened.inode, ours); // taken off, or of another namespace
    if (mount.kind !== 'proc') return undefined;
    const tail = mount.root === '/' ? named.tail : mount.root;
    if (mount.device === this.#device) return this.#byInode(tail, opened.inode, ours);
    return this.#sameProcesses(folder, mount.point) ? ownerOf(tail, ours) : undefined;
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

  /** Whether another mount of proc numbers processes as ours does: `self` there is we ourselves. */
  #sameProcesses(folder: string, point: string): boolean {
    const self = this.#eyes.link(`${folder}/root${fromShown(point)}/self`);
    if ('value' in self) return self.value === String(this.#self);
    const [theirs, mine] = [this.#eyes.link(`${folder}/ns/pid`), this.#eyes.link('/proc/self/ns/pid')];
    return 'value' in theirs && 'value' in mine && theirs.value === mine.value;
  }
}

function ownerOf(tail: string, ours: ReadonlySet<number>): number | undefined {
  const named = memoryNamed(tail);
  return named !== undefined && ours.has(named.id) ? named.id : undefined;
}
