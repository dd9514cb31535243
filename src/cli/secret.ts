/**
 * Questions to a person at a terminal: yes or no, and a passphrase that is not shown.
 * @module
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline/promises';
import { KwyreError } from '../base/errors.ts';

/** Asks; anything but y or yes is a no. */
export async function confirm(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question(`${question} [y/N] `);
    return /^y(es)?$/i.test(answer.trim());
  } finally {
    terminal.close();
  }
}

/** Reads a line without showing it. @throws `USAGE_PASSPHRASE` when there is no terminal or it is interrupted */
async function readHidden(question: string): Promise<Buffer> {
  const input = process.stdin;
  if (!input.isTTY) throw new KwyreError('USAGE_PASSPHRASE', 'a passphrase is needed, and there is no terminal to ask for it', 'give the path of a file that holds it with --passphrase-file');
  process.stderr.write(question);
  input.setRawMode(true);
  const typed: number[] = [];
  try {
    for await (const chunk of input as AsyncIterable<Buffer>) {
      for (const byte of chunk) {
        if (byte === 3) throw new KwyreError('USAGE_PASSPHRASE', 'interrupted', '');
        if (byte === 13 || byte === 10) return Buffer.from(typed);
        if (byte === 127 || byte === 8) typed.pop();
        else if (typed.length < 1024) typed.push(byte);
      }
    }
    return Buffer.from(typed);
  } finally {
    typed.fill(0);
    input.setRawMode(false);
    input.pause();
    process.stderr.write('\n');
  }
}

/** The passphrase of an existing key: from a file, or asked for. @throws `USAGE_FILE` */
export async function askPassphrase(file: string | undefined): Promise<Buffer> {
  if (file === undefined) return await readHidden('passphrase of the operator key: ');
  let text: Buffer;
  try {
    text = readFileSync(file);
  } catch (error) {
    throw new KwyreError('USAGE_FILE', `cannot read ${file} (${(error as NodeJS.ErrnoException).code ?? 'error'})`, 'give the path of a file that holds the passphrase and nothing else');
  }
  return text.subarray(0, text.at(-1) === 10 ? -1 : text.length);
}

/** A new passphrase, typed twice. @throws `USAGE_PASSPHRASE` */
export async function askNewPassphrase(file: string | undefined): Promise<Buffer> {
  const first = file === undefined ? await readHidden('new passphrase for the operator key (12 characters or more): ') : await askPassphrase(file);
  if (first.length < 12) throw new KwyreError('USAGE_PASSPHRASE', 'the passphrase is shorter than 12 characters', 'several words are easy to remember and hard to guess');
  if (file === undefined) {
    const second = await readHidden('the same again: ');
    if (!second.equals(first)) throw new KwyreError('USAGE_PASSPHRASE', 'the two passphrases differ', 'try again');
    second.fill(0);
  }
  return first;
}
