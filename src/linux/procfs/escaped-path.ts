/**
 * Paths as `/proc/PID/maps` shows them: bytes, with a line feed as `\012`.
 *
 * Files of `/proc` are read as Latin-1, one character per byte, so that columns are exact and no byte is lost. Paths in
 * them are compared in that form.
 *
 * Limits: a name that contains the four characters `\012` looks like one with a line feed; compare inodes too.
 * Source: fs/seq_file.c (mangle_path), fs/proc/task_mmu.c
 * Proof:  test/unit/linux/maps.test.ts
 * @module
 */

/** Returns a path as `/proc/PID/maps` shows it, in Latin-1. */
export function asShown(path: string): string {
  return Buffer.from(path, 'utf8').toString('latin1').replaceAll('\n', '\\012');
}

/** Returns a name from Latin-1 text of `/proc` as a path for system calls. */
export function fromShown(text: string): string {
  return Buffer.from(text.replaceAll('\\012', '\n'), 'latin1').toString('utf8');
}
