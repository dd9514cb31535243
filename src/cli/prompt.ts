/**
 * Asks questions on a terminal: yes-or-no questions, and passphrases, which are not echoed.
 *
 * Proof: test/e2e/prompts.test.ts
 * @module
 */
import { readFileSync } from 'node:fs';
import { KwyreError } from '../base/errors.ts';

const maxBytes = 1024;
const keys = { interrupt: 3, end: 4, backspace: 8, newline: 10, enter: 13, erase: 127 } as const;

/**
 * Reads the next line of standard input. Any text after it, such as pasted lines, is kept for the next question.
 * @param raw - whether the terminal passes on each key without echoing it, instead of editing the line itself
 * @returns `undefined` at the end of the input (Ctrl-D, a closed terminal)
 * @throws `USAGE_INTERRUPTED` on Ctrl-C in raw mode
 */
async function readLine(raw: boolean): Promise<Buffer | undefined> {
  const input = process.stdin;
  const typed: number[] = [];
  const line = Promise.withResolvers<Buffer | undefined>();
  const onEnd = (): void => {
    line.resolve(undefined);
  };
  const onData = (chunk: Buffer): void => {
    for (const [index, byte] of chunk.entries()) {
      const ends = byte === keys.newline || byte === keys.enter;
      if (ends || (raw && byte === keys.end)) {
        const rest = Buffer.from(chunk.subarray(index + 1));
        chunk.fill(0);
        input.off('data', onData);
        input.pause();
        if (rest.length > 0) input.unshift(rest);
        line.resolve(ends || typed.length > 0 ? Buffer.from(typed) : undefined);
        return;
      }
      if (raw && byte === keys.interrupt) {
        line.reject(
          new KwyreError(
            'USAGE_INTERRUPTED',
            'interrupted; nothing was changed',
            'run the command again when you are ready',
          ),
        );
        return;
      }
      if (raw && (byte === keys.erase || byte === keys.backspace)) typed.pop();
      else if (typed.length < maxBytes) typed.push(byte);
    }
    chunk.fill(0);
  };
  input.on('data', onData).once('end', onEnd);
  input.resume();
  try {
    return await line.promise;
  } finally {
    input.off('data', onData).off('end', onEnd);
    input.pause();
    typed.fill(0);
  }
}

/** Asks a question. Any answer other than y or yes means no. */
export async function confirm(question: string): Promise<boolean> {
  process.stderr.write(`${question} [y/N] `);
  const answer = await readLine(false);
  if (answer === undefined) process.stderr.write('\n');
  return /^y(es)?$/i.test((answer ?? Buffer.alloc(0)).toString('latin1').trim());
}

/** Reads a line without echoing it. @throws `USAGE_PASSPHRASE` if there is no terminal or it is closed */
async function readHidden(question: string): Promise<Buffer> {
  const input = process.stdin;
  if (!input.isTTY)
    throw new KwyreError(
      'USAGE_PASSPHRASE',
      'a passphrase is needed, but there is no terminal to ask for it',
      'name a file that contains it with --passphrase-file FILE',
    );
  input.setRawMode(true); // before the question, so that nothing typed as soon as it appears is echoed
  process.stderr.write(question);
  try {
    const typed = await readLine(true);
    if (typed === undefined)
      throw new KwyreError(
        'USAGE_PASSPHRASE',
        'no passphrase was typed; nothing was changed',
        'run the command again when you are ready',
      );
    return typed;
  } finally {
    input.setRawMode(false);
    process.stderr.write('\n');
  }
}

/** Reads the passphrase of an existing key from a file or the terminal. @throws `USAGE_FILE`, `USAGE_PASSPHRASE` */
export async function askPassphrase(file: string | undefined): Promise<Buffer> {
  if (file === undefined) return await readHidden('passphrase of the operator key: ');
  let text: Buffer;
  try {
    text = readFileSync(file);
  } catch (error) {
    throw new KwyreError(
      'USAGE_FILE',
      `cannot read ${file} (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
      'give the path of a file that contains only the passphrase',
    );
  }
  return text.subarray(0, text.at(-1) === 10 ? -1 : text.length);
}

/** Reads a new passphrase from a file, or from the terminal, where it is typed twice. @throws `USAGE_PASSPHRASE` */
export async function askNewPassphrase(file: string | undefined): Promise<Buffer> {
  const first =
    file === undefined
      ? await readHidden('new passphrase for the operator key (12 characters or more): ')
      : await askPassphrase(file);
  if (first.length < 12)
    throw new KwyreError(
      'USAGE_PASSPHRASE',
      'the passphrase is shorter than 12 characters',
      'choose several words: they are easy to remember and hard to guess',
    );
  if (file === undefined) {
    const second = await readHidden('repeat the passphrase: ');
    if (!second.equals(first)) throw new KwyreError('USAGE_PASSPHRASE', 'the two passphrases differ', 'try again');
    second.fill(0);
  }
  return first;
}
