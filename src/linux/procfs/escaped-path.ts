/**
 * Paths as the kernel writes them in `/proc/PID/maps`: bytes, with a newline as `\012`.
 *
 * Text of `/proc` is read as Latin-1, one character a byte, so that its columns are exact and no byte is lost; the
 * paths in it are compared in that form.
 *
 * Limits: a name that holds the four characters `\012` looks like one with a newline; whoever compares also looks at
 *         inodes.
 * Source: fs/seq_file.c (mangle_path), fs/proc/task_mmu.c
 * Proof:  test/unit/linux/tasks.test.ts
 * @module
 */

/** A path as `/proc/PID/maps` shows it, in Latin-1. */
export function asShown(path: string): string {
  return Buffer.from(path, 'utf8').toString('latin1').replaceAll('\n', '\\012');
}

/** A name from Latin-1 text of `/proc` as a path for calls; the kernel escapes nothing in it, or a newline only. */
export function fromShown(text: string): string {
  return Buffer.from(text.replaceAll('\\012', '\n'), 'latin1').toString('utf8');
}
