/**
 * The jails in which the roles are started: their users, what they may read, and how many threads they may have.
 *
 * Proof: test/attacks/2-users.test.ts, test/attacks/2-threads.test.ts
 * @module
 */
import type { JailInput } from '../../layers/2-isolation/jail/confine.ts';
import { statSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Config } from '../../base/config.ts';
import { programFolder, root } from '../../installation/paths.ts';
import { parseInstalled, recordPath } from '../../layers/2-isolation/install/install-record.ts';
import { chooseIdentity, pickUserId, taskLimit } from '../../layers/2-isolation/jail/role-user.ts';
import { claimUser, hasProcesses } from '../../linux/user-keys.ts';
import type { Role } from '../../policy/roles.ts';
import { readRootText } from '../../state/root-files.ts';

const { randomInt } = process.getBuiltinModule('node:crypto');

/** Returns whether root's install record names the user `uid`. @throws `L2_ISOLATE_RECORD` */
export function isInstalledUser(uid: number): boolean {
  const record = readRootText(recordPath, 'L2_ISOLATE_RECORD');
  return record !== undefined && parseInstalled(record).uid === uid;
}

export class RoleJails {
  readonly #config: Pick<Config, 'accepted' | 'threads'>;
  readonly #isInstalled: boolean;
  readonly #isRoot: boolean;
  readonly #readable: readonly string[];
  /** A user id that no other process has; the gateway and the engine share it. */
  readonly #servingId: number | undefined;
  readonly #watchdogId: number | undefined;

  /**
   * If root starts the server, picks the user ids of the roles. This uses the kernel's keyrings, which the supervisor's
   * filter later blocks.
   * @param modelPaths - files of the model that the roles have to read
   */
  constructor(
    config: Pick<Config, 'accepted' | 'threads'>,
    { uid, installed, modelPaths }: { uid: number; installed: boolean; modelPaths: readonly string[] },
  ) {
    this.#config = config;
    this.#isInstalled = installed;
    this.#isRoot = uid === 0;
    this.#readable = [
      programFolder,
      join(root, 'node_modules'),
      join(root, 'page'),
      join(root, 'package.json'),
      ...modelPaths,
    ];
    const pick = (): number | undefined =>
      this.#isRoot ? pickUserId({ draw: randomInt, inUse: hasProcesses, claim: claimUser }) : undefined;
    this.#servingId = pick();
    this.#watchdogId = pick();
  }

  /** Returns the jail of a role, according to the current files and permissions. */
  of(role: Role): JailInput {
    const { accepted, threads } = this.#config;
    const picked = role === 'watchdog' ? this.#watchdogId : this.#servingId;
    const identity = this.#isRoot ? chooseIdentity(picked, this.#readable, statSync) : undefined;
    return {
      readable: this.#readable,
      accepted,
      installed: this.#isInstalled,
      ...identity,
      ...taskLimit(identity, this.#isInstalled, availableParallelism(), threads),
    };
  }
}
