/**
 * `/proc/PID/maps`: the memory regions of a process.
 *
 * Trust:  another process may have chosen a path, but the kernel escapes line feeds in it (`escaped-path.ts`).
 * Source: proc_pid_maps(5)
 * Proof:  test/unit/linux/maps.test.ts
 * @module
 */

/** One region; its path is as the kernel shows it, empty for anonymous memory. */
type MemoryRegion = {
  readonly from: bigint;
  readonly to: bigint;
  /** For example `r-xp`. */
  readonly rights: string;
  readonly device: number;
  readonly inode: number;
  readonly path: string;
};

/** A file that is mapped executable. */
export type Mapping = { readonly path: string; readonly device: number; readonly inode: number };

/** Returns `st_dev` for a major and a minor number, in Linux's encoding. */
function makeDevice(major: number, minor: number): number {
  return (minor & 0xff) + (major & 0xfff) * 0x100 + (minor >>> 8) * 0x100000;
}

// Flag `s`: the kernel escapes line feeds in a path, but not the other characters that JavaScript treats as line ends.
const form = /^([0-9a-f]+)-([0-9a-f]+) ([r-][w-][x-][ps]) [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)$/s;

function parseLine(line: string): MemoryRegion | undefined {
  const match = form.exec(line);
  if (match === null) return undefined;
  const [, from = '0', to = '0', rights = '', major = '0', minor = '0', inode = '0', path = ''] = match;
  return {
    from: BigInt(`0x${from}`),
    to: BigInt(`0x${to}`),
    rights,
    device: makeDevice(Number.parseInt(major, 16), Number.parseInt(minor, 16)),
    inode: Number(inode),
    path,
  };
}

/** Returns every region; lines of any other form are skipped. */
export function parseMaps(text: string): MemoryRegion[] {
  return text.split('\n').flatMap((line) => parseLine(line) ?? []);
}

/** Returns the files that a process has mapped executable, each once. Anonymous memory has no file and is left out. */
export function codeMappings(text: string): Mapping[] {
  const found = new Map<string, Mapping>();
  for (const { rights, device, inode, path } of parseMaps(text)) {
    if (rights[2] !== 'x' || (inode === 0 && !path.startsWith('/'))) continue; // not code, or [vdso], or no file
    // A memfd may have any name, so the name alone identifies nothing.
    found.set(`${device}:${inode}:${path}`, { path, device, inode });
  }
  return [...found.values()];
}
