/**
 * A disk of a few pages for tests: one that is full to the last byte, read-only, or gone. Needs root (mount).
 * @module
 */
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export class Disk implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'kwyre-disk-'));

  #mounts = 1;

  constructor(kib = 256) {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${kib}k,mode=0700`, 'kwyre-test', this.path]);
  }

  /** Takes every byte that is left, in the last pages of these files too. */
  fill(...files: readonly string[]): void {
    for (const name of ['ballast', ...files]) {
      const fd = openSync(join(this.path, name), 'a', 0o600);
      try {
        for (let bytes = 4096; bytes >= 1; bytes /= 2) while (grows(fd, bytes));
      } finally {
        closeSync(fd);
      }
    }
  }

  /** Gives the room back. */
  free(): void {
    rmSync(join(this.path, 'ballast'), { force: true });
  }

  /**
   * Makes it read-only for whoever opens something there from now on, as the kernel does after an error of the disk.
   */
  seal(): void {
    execFileSync('mount', ['--bind', this.path, this.path]);
    execFileSync('mount', ['-o', 'remount,bind,ro', this.path]);
    this.#mounts += 1;
  }

  [Symbol.dispose](): void {
    for (; this.#mounts > 0; this.#mounts -= 1) execFileSync('umount', ['-l', this.path]);
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Whether a file still took a few blank lines. */
function grows(fd: number, bytes: number): boolean {
  try {
    return writeSync(fd, '\n'.repeat(bytes)) === bytes;
  } catch {
    return false;
  }
}
