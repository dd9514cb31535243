/**
 * Inspects a model before it is approved: its files, the header of its weights, anything unusual, and its maker's
 * signature.
 *
 * Promise: no part of the model is run except its chat template, by Kwyre's own evaluator and within its limits
 *          (template-trial.ts). The strict parser reads the GGUF header first, and JSON files must be valid. Every
 *          pattern below takes linear time.
 * Proof:   test/attacks/4-content.test.ts, test/attacks/4-model.test.ts
 * @module
 */
import { isUtf8 } from 'node:buffer';
import * as fs from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { KwyreError } from '../../base/errors.ts';
import type { GgufFacts, PartReader } from '../../layers/4-model/gguf-header.ts';
import { parseParts } from '../../layers/4-model/gguf-header.ts';
import { openRegular, walkTree } from '../../oms/tree-reader.ts';
import type { Fault } from '../../oms/verification-error.ts';
import { DifferenceError, printable } from '../../oms/verification-error.ts';
import { tryTemplate } from './template-trial.ts';
import { describeUpstream, excludedFiles, rights } from './upstream-signature.ts';
import type { Maker } from './upstream-signature.ts';

const { createHash } = process.getBuiltinModule('node:crypto');

/** A model on disk. */
export type InspectedModel = {
  readonly root: string;
  /** Relative names of the files that would be approved. */
  readonly files: readonly string[];
  readonly weights: readonly string[];
  readonly wholeFolder: boolean;
  readonly bytes: number;
  readonly facts: GgufFacts;
  readonly templateDigest: string | undefined;
  /** Findings that the operator should know about before approving the model. */
  readonly unusual: readonly string[];
  readonly upstream: string;
};

const splitPattern = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/;

/** Returns all parts of a split file in order, or just the file if it is not split. @throws `L4_SPLIT_INCOMPLETE` */
function partsOf(name: string, present: (name: string) => boolean): string[] {
  const match = splitPattern.exec(name);
  if (match === null) return [name];
  const [, stem = '', , total = '0'] = match;
  const parts = Array.from(
    { length: Number(total) },
    (_, index) => `${stem}-${String(index + 1).padStart(5, '0')}-of-${total}.gguf`,
  );
  const missing = parts.find((part) => !present(part));
  if (missing !== undefined)
    throw new KwyreError(
      'L4_SPLIT_INCOMPLETE',
      `the part ${missing} of the model is missing`,
      'download all parts, then add the model again',
    );
  return parts;
}

/**
 * Inspects the model at `path`, which is a file or a folder. @throws `L4_MODEL_KIND`, `L4_MODEL_AMBIGUOUS`,
 * `L4_FILES_DIFFER`
 */
export async function inspectModel(
  path: string,
  weightsName: string | undefined,
  maker: Maker,
  fault: Fault,
): Promise<InspectedModel> {
  const full = resolve(path);
  const facts = fs.lstatSync(full, { throwIfNoEntry: false });
  if (facts === undefined)
    throw new KwyreError(
      'L4_MODEL_ABSENT',
      `${full} does not exist`,
      'give the path of a GGUF file, or of a folder that contains one',
    );
  if (facts.isFile()) {
    const root = dirname(full);
    const files = partsOf(basename(full), (name) => fs.existsSync(join(root, name)));
    return await finish(root, files, files, false, [], maker, fault);
  }
  if (!facts.isDirectory())
    throw new KwyreError(
      'L4_MODEL_KIND',
      `${full} is neither a regular file nor a folder (links are not followed)`,
      'give the path of the file itself',
    );
  const walk = walkTree(fs, full, excludedFiles, rights);
  if (walk.faults.length > 0)
    throw new DifferenceError(4, full, walk.faults, 'fix or remove these files, then add the model again');
  const names = [...walk.files.keys()];
  const candidates = names.filter(
    (name) =>
      name.endsWith('.gguf') &&
      !/(^|[/._-])(mmproj|lora|draft)([._-]|$)/i.test(name) &&
      (splitPattern.exec(name)?.[2] ?? '00001') === '00001',
  );
  const chosen = weightsName ?? (candidates.length === 1 ? candidates[0] : undefined);
  if (chosen === undefined || !names.includes(chosen)) {
    throw new KwyreError(
      'L4_MODEL_AMBIGUOUS',
      `${full} contains ${candidates.length} GGUF ` +
        `models${candidates.length === 0 ? '' : ` (${candidates.slice(0, 5).join(', ')})`}`,
      'choose one with --weights NAME; Kwyre serves only GGUF',
    );
  }
  return await finish(
    full,
    names,
    partsOf(chosen, (name) => names.includes(name)),
    true,
    unusualFiles(names),
    maker,
    fault,
  );
}

/** Returns a finding for each file that other programs would run as code. */
function unusualFiles(names: readonly string[]): string[] {
  return names
    .filter((name) => /\.(py|pyc|pkl|pickle|pt|pth|bin|ckpt|so|dll|sh|js|exe)$/i.test(name))
    .map((name) => `${name} is of a type that can contain code; Kwyre never loads it`);
}

const jsonLimit = 64 << 20;

/**
 * Checks that the files that other programs read as settings are valid JSON in UTF-8. Kwyre itself does not use them.
 * @throws `L4_MODEL_JSON` naming the file
 */
function checkJson(root: string, names: readonly string[]): void {
  for (const name of names.filter((file) => /\.json$/i.test(file))) {
    const refuse = (reason: string) =>
      new KwyreError(
        'L4_MODEL_JSON',
        `${printable(name)} beside the model ${reason}`,
        'download the file again, or remove it from the folder',
      );
    if (fs.lstatSync(join(root, name)).size > jsonLimit) throw refuse(`is larger than ${jsonLimit >> 20} MiB`);
    const bytes = fs.readFileSync(join(root, name));
    if (!isUtf8(bytes)) throw refuse('is not UTF-8 text');
    let value: unknown;
    try {
      value = JSON.parse(bytes.toString('utf8'));
    } catch {
      throw refuse('is not JSON');
    }
    if (typeof value !== 'object' || value === null) throw refuse('contains neither an object nor a list');
  }
}

/** Reads the headers and assembles the result. */
async function finish(
  root: string,
  files: readonly string[],
  weights: readonly string[],
  wholeFolder: boolean,
  unusual: readonly string[],
  maker: Maker,
  fault: Fault,
): Promise<InspectedModel> {
  let bytes = 0;
  for (const name of files) bytes += fs.lstatSync(join(root, name)).size;
  checkJson(root, files);
  const facts = readHeaders(root, weights);
  const template = facts.template === '' ? undefined : facts.template;
  return {
    root,
    files,
    weights,
    wholeFolder,
    bytes,
    facts,
    templateDigest: template === undefined ? undefined : createHash('sha256').update(template).digest('hex'),
    unusual: [
      ...unusual,
      ...unusualTemplate(template),
      ...(template === undefined ? [] : tryTemplate(template, { bos: facts.bos, eos: facts.eos })),
      ...(facts.contextTokens > 1 << 20 ? [`the context of ${facts.contextTokens} tokens is unusually long`] : []),
    ],
    upstream: await describeUpstream(root, maker, fault),
  };
}

/** Reads the headers of all parts of the weights, as one model. */
function readHeaders(root: string, names: readonly string[]): GgufFacts {
  const open: number[] = [];
  try {
    const parts = names.map((name): PartReader => {
      const path = join(root, name);
      const opened = openRegular(fs, path);
      if (opened === undefined)
        throw new KwyreError(
          'L4_MODEL_KIND',
          `${path} is not a regular file that you may read (links are not followed)`,
          'give the path of the file itself, and make sure that you can read it',
        );
      open.push(opened.fd);
      const readAt = (offset: number, length: number): Buffer => {
        const buffer = Buffer.allocUnsafeSlow(length);
        return buffer.subarray(0, fs.readSync(opened.fd, buffer, 0, length, offset));
      };
      return { readAt, size: opened.facts.size };
    });
    return parseParts(parts);
  } finally {
    for (const fd of open) fs.closeSync(fd);
  }
}

/** Returns a finding for anything in a chat template that ordinary templates do not contain. @internal */
export function unusualTemplate(template: string | undefined): string[] {
  if (template === undefined) return ['there is no chat template: the model cannot be served'];
  const signs: [RegExp, string][] = [
    [/__\w+__|constructor|prototype|globals|builtins|subclasses/i, 'accesses interpreter internals'],
    [/https?:\/\//i, 'contains a web address'],
    [/range\(\s*\d{5,}/, 'loops many times'],
    [/<script|javascript:|data:[a-z]+\//i, 'contains markup that a browser would run'],
    [
      /base64|b64decode|\\x[0-9a-f]{2}\\x|eval\(|exec\(|system\(/i,
      'contains encoded text or the name of a function that runs code',
    ],
    [/[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/u, 'contains invisible characters'],
  ];
  const found = signs.filter(([pattern]) => pattern.test(template)).map(([, what]) => `the chat template ${what}`);
  if (/\{%[-+]?\s*(import|include|extends|from)\b/.test(template))
    found.push('the chat template loads other templates');
  const date = template.search(/\b(strftime_now|now)\b/);
  if (date >= 0 && /\bif\b/.test(template.slice(date))) found.push('the chat template may depend on the date');
  return template.length > 32 << 10 ? [...found, `the chat template is ${template.length} characters long`] : found;
}
