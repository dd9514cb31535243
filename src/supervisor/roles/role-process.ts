/**
 * One role and its jail stage, started with exactly the descriptors that it may have.
 *
 * Promise: a role starts with an empty environment and no descriptors other than those named here. Its standard output
 *          and error are pipes that this process reads, so once a role is ready, none of its text reaches a file or a
 *          terminal.
 * Proof:   test/attacks/2-jail.test.ts, test/attacks/x-covert.test.ts
 * @module
 */
import type { JailInput } from '../../layers/2-isolation/jail/confine.ts';
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { closeSync, fstatSync } from 'node:fs';
import { join } from 'node:path';
import { extension, programFolder } from '../../installation/paths.ts';
import { loadListDescriptor } from '../../layers/3-dependencies/load-list.ts';
import { makePipe } from '../../linux/sockets/pipe.ts';
import { socketInodes } from '../../linux/procfs/descriptors.ts';
import { openStream } from '../../linux/sockets/inherited-stream.ts';
import type { Stream } from '../../linux/sockets/inherited-stream.ts';
import { nodeFlags } from '../../policy/node-flags.ts';
import type { Role } from '../../policy/roles.ts';
import type { DispatchTable } from '../../wire/channel.ts';
import { Channel } from '../../wire/channel.ts';
import { controlMessages, descriptors } from '../../wire/messages.ts';
import type { KwyreError } from '../../base/errors.ts';
import { printable } from '../../base/untrusted-text.ts';

/** How a process ended. */
export type Ending = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

/** Path of the program that this process runs; valid even if the program runs from memory. */
export const ownProgram = '/proc/self/exe';

/** Maximum number of characters kept of a role's output while it starts. */
const maxOutput = 4096;

/** Returns the path of another entry point of the running copy (`.ts` in development, `.js` when installed). */
function entryPath(relative: string): string {
  return join(programFolder, `${relative}${extension}`);
}

/** Descriptors of the code that a role may load: the load list, and the native code in immutable memory. */
export type LoadDescriptors = { readonly fd: number; readonly natives: readonly number[] };

/** Options for starting a role. */
type RoleProcessOptions = {
  readonly role: Role;
  readonly jail: JailInput;
  /** Descriptors from 3 on, in order; this process closes its copies after the spawn. */
  readonly fds: readonly number[];
  /** Descriptors in {@link fds} that stay open in this process. */
  readonly keep?: ReadonlySet<number>;
  /** This process's end of the control edge; the other end is `fds[0]`. */
  readonly controlFd: number;
  readonly table: DispatchTable;
  /** Called when the role breaches the protocol of the control edge. */
  readonly onBreach: (error: KwyreError) => void;
  /** Descriptors of the code it may load; absent in tests, where it loads modules from their files. */
  readonly loads?: LoadDescriptors;
  /** Descriptors of a split model's second and later files, passed after all others. They stay open in this process. */
  readonly parts?: readonly number[];
};

/** Returns entries for `stdio` that leave a range of descriptors closed. */
const gap = (from: number, to: number) => Array.from({ length: to - from }, () => 'ignore' as const);

/** Returns the entries that follow the role's own in `stdio`: load list, native code and parts of the model. */
function loadStdio(next: number, loads: LoadDescriptors, parts: readonly number[]): ('ignore' | number)[] {
  const natives = [...gap(next, loadListDescriptor), loads.fd, ...loads.natives];
  if (parts.length === 0) return natives;
  return [...natives, ...gap(loadListDescriptor + 1 + loads.natives.length, descriptors.parts), ...parts];
}

/** A running role and the supervisor's end of its control edge. */
export class RoleProcess {
  readonly role: Role;
  readonly pid: number;
  /** Inodes of the sockets that the role had when it started. The only others it may hold are accepted connections. */
  readonly sockets: readonly number[];
  readonly control: Channel;
  /** Settles when the process has ended. */
  readonly ended: Promise<Ending>;
  /** Settles when the process has ended and everything it sent on its control edge has been read. */
  readonly drained: Promise<Ending>;
  /** The role's output before it was ready; used to explain a failed start. */
  startOutput = '';
  #process: ChildProcess;
  #stream: Stream;
  #isSilenced = false;

  constructor({ role, jail, fds, keep, controlFd, table, onBreach, loads, parts = [] }: RoleProcessOptions) {
    this.role = role;
    // A pipe, not a socket: the role may hold only sockets that are declared to the watchdog.
    const output = makePipe();
    this.#process = spawn(
      ownProgram,
      [
        ...nodeFlags,
        ...(loads === undefined ? [] : [entryPath('jail/entry')]),
        entryPath('jail/main'),
        role,
        entryPath(`${role}/main`),
        JSON.stringify({ ...jail, parts: parts.length }),
      ],
      {
        env: {},
        cwd: '/',
        stdio: [
          'ignore',
          output.writing,
          output.writing,
          ...fds,
          ...(loads === undefined ? [] : loadStdio(3 + fds.length, loads, parts)),
        ],
        detached: true,
      },
    );
    const inherited = fds
      .map((fd) => fstatSync(fd))
      .filter((facts) => facts.isSocket())
      .map(({ ino }) => ino);
    closeSync(output.writing);
    for (const fd of fds) if (keep?.has(fd) !== true) closeSync(fd);
    this.pid = this.#process.pid ?? 0;
    // Read before the process has run any code of its own. Later, neither an ordinary user nor that user's watchdog can
    // inspect it.
    this.sockets = [...new Set([...inherited, ...socketInodes(this.pid)])];
    this.ended = new Promise((resolve) => {
      this.#process.once('error', () => {
        resolve({ code: 1, signal: null });
      });
      this.#process.once('exit', (code, signal) => {
        resolve({ code, signal });
      });
    });
    const outputEnd = Promise.withResolvers<undefined>();
    openStream(
      output.reading,
      (chunk) => {
        if (!this.#isSilenced && this.startOutput.length < maxOutput)
          this.startOutput = printable(`${this.startOutput}${chunk.toString('utf8')}`, maxOutput);
      },
      () => {
        outputEnd.resolve(undefined);
      },
    );
    const controlEnd = Promise.withResolvers<undefined>();
    this.#stream = openStream(
      controlFd,
      (chunk) => {
        this.control.receive(chunk);
      },
      () => {
        controlEnd.resolve(undefined);
      },
    );
    this.drained = Promise.all([this.ended, controlEnd.promise, outputEnd.promise]).then(([ending]) => ending);
    this.control = new Channel(this.#stream, table, onBreach);
  }

  /** Marks the role as ready. From now on its output is dropped, since it may contain text of a conversation. */
  endStart(): void {
    this.#isSilenced = true;
    this.startOutput = '';
    this.control.endStartup();
  }

  /** Asks the role to end. */
  stop(): void {
    this.control.send(controlMessages.stop);
  }

  /** Ends the process at once. */
  kill(): void {
    this.#process.kill('SIGKILL');
  }

  /** Closes the control edge once the process has ended. */
  release(): void {
    this.#stream.end();
  }
}
