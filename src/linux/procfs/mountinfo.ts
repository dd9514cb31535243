/**
 * `/proc/PID/mountinfo`: the mounts of a mount namespace.
 *
 * Trust:  the kernel escapes spaces, tabs, line feeds and backslashes in names in octal, so no name can forge a field.
 * Source: proc_pid_mountinfo(5)
 * Proof:  test/unit/linux/path-writers.test.ts, test/unit/watchdog/memory-descriptors.test.ts
 * @module
 */

/** One mount; paths are Latin-1, one character per byte. */
export type Mount = {
  readonly id: number;
  /** `major:minor` */
  readonly device: string;
  /** The folder of the file system that this mount shows as its root. */
  readonly root: string;
  readonly point: string;
  /** Type of the file system, such as `fuse.sshfs`. */
  readonly kind: string;
  /** The user who serves a FUSE file system, otherwise `undefined`. */
  readonly fuseUser: number | undefined;
};

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_whole, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

function parseLine(line: string): Mount | undefined {
  const [mount = '', source = ''] = line.split(' - ', 2);
  const [id, , device, root, point] = mount.split(' ');
  const [kind, , options = ''] = source.split(' ');
  if (device === undefined || root === undefined || point === undefined || kind === undefined) return undefined;
  const user = kind.startsWith('fuse') ? /(?:^|,)user_id=(\d+)(?:,|$)/.exec(options)?.[1] : undefined;
  return {
    id: Number(id),
    device,
    root: unescapeOctal(root),
    point: unescapeOctal(point),
    kind,
    fuseUser: user === undefined ? undefined : Number(user),
  };
}

/** Returns every mount in the kernel's order; lines of another form are skipped. */
export function parseMounts(text: string): Mount[] {
  return text.split('\n').flatMap((line) => parseLine(line) ?? []);
}

/** Returns the mount with this id, or `undefined`. */
export function findMount(text: string, id: number): Mount | undefined {
  const line = text.split('\n').find((one) => one.startsWith(`${id} `));
  return line === undefined ? undefined : parseLine(line);
}
