/**
 * Detects whether a model file has been written to since it was loaded, using the descriptors that the supervisor
 * keeps.
 *
 * Source: inode(7), F_GETLEASE in fcntl(2)
 * Proof:  test/unit/layers/6-all-detectors.test.ts, test/attacks/4-mutations.test.ts
 * @module
 */
import { fstatSync } from 'node:fs';
import type { FileStamp } from '../../layers/6-intrusion/detectors/weights-file.ts';
import { detectAllWeights } from '../../layers/6-intrusion/detectors/weights-file.ts';
import type { Detection } from '../../layers/6-intrusion/finding.ts';
import { leaseHolds } from '../../linux/files/file-lease.ts';

function stampOf(fd: number): FileStamp | undefined {
  try {
    const { size, mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true });
    return { size, modifiedNs: mtimeNs, changedNs: ctimeNs, leased: leaseHolds(fd) };
  } catch {
    return undefined;
  }
}

export class WeightsMonitor {
  readonly #fds: readonly number[];
  readonly #loaded: readonly (FileStamp | undefined)[];
  readonly #uid: number;

  /** @param fds - the model files as they were loaded */
  constructor(fds: readonly number[], uid: number) {
    this.#fds = fds;
    this.#loaded = fds.map(stampOf);
    this.#uid = uid;
  }

  /** Compares the files with their state when this monitor was created. */
  detect(): Detection {
    return detectAllWeights(this.#loaded, this.#fds.map(stampOf), { pid: process.pid, uid: this.#uid });
  }
}
