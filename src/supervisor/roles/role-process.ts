/**
 * The only place that spawns: one role behind its jail stage, with exactly its descriptors.
 *
 * Promise: a child starts with an empty environment and no descriptor but those named here; its standard output
 *          and error are pipes that end here, so no text of a role reaches a file or a terminal once it is ready.
 * @module
 */
import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { closeSync, fstatSync } from 'node:fs';
import { join } from 'node:path';
import { nodeFlags } from '../../policy/node-flags.ts';
import { extension, programFolder } from '../../installation/paths.ts';
import { loadListDescriptor } from '../../layers/3-dependencies/load-list.ts';
import { makePipe } from '../../linux/sockets/pipe.ts';
import { socketInodes } from '../../linux/procfs/descriptors.ts';
import { openStream } from '../../linux/sockets/inherited-stream.ts';
import type { Stream } from '../../linux/sockets/inherited-stream.ts';
import type { DispatchTable } from '../../wire/channel.ts';
import { Channel } from '../../wire/channel.ts';
import { controlMessages, descriptors } from '../../wire/messages.ts';
import type { KwyreError } from '../../base/errors.ts';
import { printable } from '../../base/untrusted-text.ts';

export type Role = 'gateway' | 'engine';
/** Every role behind the jail stage; a pair is made of the two above. */
export type ChildRole = Role | 'watchdog';

/** What the jail stage is told besides the role; see `jail/main.ts`. */
export type JailInput = {
  readonly readable: readonly string[];
  readonly uid?: number;
  readonly gid?: number;
  readonly accepted: readonly string[];
  /** How many threads the user may have, where the user is ours alone. */
  readonly tasks?: number;
  /** Whether the user of this process is the one of an installation, with rules of its own. */
  readonly installed?: boolean;
};

/** How a child ended. */
export type Ending = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

/** The program of this very process, whether it has a path or runs from sealed memory. */
export const ownProgram = '/proc/self/exe';

/** Characters that are kept of what a role prints while it starts. */
const mostWords = 4096;

/** The path of another entry, beside the running copy (`.ts` in development, `.js` when served). */
export function entryPath(relative: string): string {
  return join(programFolder, `${relative}${extension}`);
}

/** What a child may load: the sealed digests, and the sealed memory of its native code. */
export type LoadDescriptors = { readonly fd: number; readonly natives: readonly number[] };

/** A living role and the supervisor's end of its control edge. */
export class RoleProcess {
  readonly role: ChildRole;
  readonly pid: number;
  /** Inodes of the sockets that it was started with: the only ones that it may have besides accepted connections. */
  readonly sockets: readonly number[];
  readonly control: Channel;
  /** Settles when the process is gone. */
  readonly ended: Promise<Ending>;
  /** Settles when it is gone and everything that it said on its control edge has been read. */
  readonly silent: Promise<Ending>;
  /** The first words that the role printed before it was ready: a failing start explains itself there. */
  lastWords = '';
  #process: ChildProcess;
  #stream: Stream;
  #quiet = false;

  /**
   * @param fds - descriptors from 3 on, in order; this process's copies are closed after the spawn.
   * @param loads - what it may load; without it (in tests) it loads by itself.
   * @param controlFd - our end of the control edge, whose other end is `fds[0]`.
   * @param parts - files of the model beside the first one; they stand behind all others, and stay open here.
   */
  constructor(
    role: ChildRole,
    input: JailInput,
    fds: readonly number[],
    controlFd: number,
    keep: ReadonlySet<number>,
    table: DispatchTable,
    onBreach: (error: KwyreError) => void,
    loads?: LoadDescriptors,
    parts: readonly number[] = [],
  ) {
    this.role = role;
    const through = loads === undefined ? [] : [entryPath('jail/entry')];
    const gap = (from: number, to: number) => Array.from({ length: to - from }, () => 'ignore' as const);
    const behind =
      loads === undefined
        ? []
        : [
            ...gap(3 + fds.length, loadListDescriptor),
            loads.fd,
            ...loads.natives,
            ...(parts.length === 0
              ? []
              : [...gap(loadListDescriptor + 1 + loads.natives.length, descriptors.parts), ...parts]),
          ];
    // A pipe and no socket: nobody may look at the child to declare what Node would make.
    const said = makePipe();
    this.#process = spawn(
      ownProgram,
      [
        ...nodeFlags,
        ...through,
        entryPath('jail/main'),
        role,
        entryPath(`${role}/main`),
        JSON.stringify({ ...input, parts: parts.length }),
      ],
      { env: {}, cwd: '/', stdio: ['ignore', said.writing, said.writing, ...fds, ...behind], detached: true },
    );
    const handed = fds
      .map((fd) => fstatSync(fd))
      .filter((facts) => facts.isSocket())
      .map(({ ino }) => ino);
    closeSync(said.writing);
    for (const fd of fds) if (!keep.has(fd)) closeSync(fd);
    this.pid = this.#process.pid ?? 0;
    // Now, while it has run no code of its own. An ordinary user may not look at it, nor may their watchdog.
    this.sockets = [...new Set([...handed, ...socketInodes(this.pid)])];
    this.ended = new Promise((resolve) => {
      this.#process.once('error', () => {
        resolve({ code: 1, signal: null });
      });
      this.#process.once('exit', (code, signal) => {
        resolve({ code, signal });
      });
    });
    const words = Promise.withResolvers<undefined>();
    openStream(
      said.reading,
      (chunk) => {
        if (!this.#quiet && this.lastWords.length < mostWords)
          this.lastWords = printable(`${this.lastWords}${chunk.toString('utf8')}`, mostWords);
      },
      () => {
        words.resolve(undefined);
      },
    );
    const read = Promise.withResolvers<undefined>();
    const stream = openStream(
      controlFd,
      (chunk) => {
        this.control.receive(chunk);
      },
      () => {
        read.resolve(undefined);
      },
    );
    this.#stream = stream;
    this.silent = Promise.all([this.ended, read.promise, words.promise]).then(([ending]) => ending);
    this.control = new Channel(stream, table, onBreach);
  }

  /** From now on whatever the role prints is dropped: it may hold text of a conversation. */
  silence(): void {
    this.#quiet = true;
    this.lastWords = '';
  }

  /** Asks the role to end. */
  stop(): void {
    this.control.send(controlMessages.stop);
  }

  /** Ends the process at once. */
  kill(): void {
    this.#process.kill('SIGKILL');
  }

  /** Lets go of the control edge once the process is gone. */
  release(): void {
    this.#stream.end();
  }
}
