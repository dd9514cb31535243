/**
 * `kwyre model`: looks at models, approves them by signing their manifest, and verifies them.
 *
 * Without an operator key each approval is signed by a fresh key whose private part is thrown away at once: nothing is
 * left that could sign again. With one (`./kwyre deps seal` makes it, or `--key FILE`), that key signs.
 * @module
 */
import { createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import * as fs from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from '../../installation/paths.ts';
import { KwyreError } from '../../base/errors.ts';
import { guideModel, guideName } from '../../layers/4-model/guide-digest.ts';
import {
  approveRecord,
  emptyTrust,
  formatRecord,
  formatTrust,
  modelNamePattern,
  parseRecord,
  parseTrust,
  roles,
  signatureNames,
} from '../../layers/4-model/approval.ts';
import type { ModelTrust, TrustedKey } from '../../layers/4-model/approval.ts';
import type { ApprovedModel } from '../../layers/4-model/model-verifier.ts';
import { verifyModel } from '../../layers/4-model/model-verifier.ts';
import { parseBundle } from '../../oms/bundle.ts';
import { DifferenceError, faultsOf } from '../../oms/verification-error.ts';
import { makeSigningKey, publicPem, readPrivatePem, unwrapKey } from '../../oms/operator-key.ts';
import { hashFiles, signFiles } from '../../oms/signer.ts';
import type { SigningOrder } from '../../oms/signer.ts';
import { keyIdOf, parsePublicKey } from '../../oms/signature.ts';
import type { Method } from '../../oms/statement.ts';
import { defaultShardBytes, parseStatement } from '../../oms/statement.ts';
import { openState } from '../../state/state-directory.ts';
import {
  listModelRecords,
  readModelRecord,
  readModelTrust,
  readOperatorKey,
  removeModelRecord,
  writeModelRecord,
  writeModelTrust,
} from '../../state/model-records.ts';
import { stateDirectory } from '../client.ts';
import { askPassphrase, confirm } from '../prompt.ts';
import type { Survey } from './inspect.ts';
import { surveyModel } from './inspect.ts';
import { excludedFiles } from './upstream-signature.ts';

const fault = faultsOf(4, './kwyre help model');
const rights = { owners: undefined, refuseGroupWritable: false, refuseLinks: false };

const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;
const options = {
  json: flag,
  yes: flag,
  state: text,
  name: text,
  weights: text,
  method: text,
  key: text,
  out: text,
  label: text,
  'passphrase-file': text,
  'upstream-key': text,
  'upstream-root': text,
  'upstream-identity': text,
  'upstream-issuer': text,
} as const;

function parseFlags(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], strict: true, allowPositionals: true, options });
  } catch {
    throw usage();
  }
}

type Flags = ReturnType<typeof parseFlags>['values'];

function usage(): KwyreError {
  return new KwyreError(
    'USAGE_MODEL',
    'model takes add PATH, list, verify [NAME], sign PATH --key FILE, trust KEY.pem, or remove NAME',
    './kwyre help model',
  );
}

/** Runs `kwyre model ...`. */
export async function model(args: readonly string[]): Promise<number> {
  const { values, positionals } = parseFlags(args);
  const state = stateDirectory(values.state);
  const [action, subject, ...rest] = positionals;
  if (rest.length > 0) throw usage();
  switch (action) {
    case 'add':
      return await add(required(subject), values, openState(state));
    case 'list':
      return list(values, openState(state));
    case 'verify':
      return await verify(subject, values, openState(state));
    case 'sign':
      return await sign(required(subject), values, openState(state));
    case 'trust':
      return await trust(required(subject), values, openState(state));
    case 'remove':
      return remove(required(subject), values, openState(state));
    default:
      throw usage();
  }
}

function required(subject: string | undefined): string {
  if (subject === undefined) throw usage();
  return subject;
}

function print(values: Flags, machine: unknown, human: string): void {
  console.log(values.json === true ? JSON.stringify(machine) : human);
}

function readTrust(state: string): { trust: ModelTrust; sameOwner: boolean } {
  const found = readModelTrust(state);
  return { trust: found.text === undefined ? emptyTrust : parseTrust(found.text, fault), sameOwner: found.sameOwner };
}

function methodOf(values: Flags, bytes: number): Method {
  if (values.method !== undefined && values.method !== 'files' && values.method !== 'shards') throw usage();
  const shards = values.method === undefined ? bytes > 4 * 2 ** 30 : values.method === 'shards';
  return shards ? { kind: 'shards', shardBytes: defaultShardBytes } : { kind: 'files' };
}

/** @throws `USAGE_FILE` */
function readText(path: string): string {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch (error) {
    throw new KwyreError(
      'USAGE_FILE',
      `cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? 'error'})`,
      'give the path of a PEM file',
    );
  }
}

/** A line on a terminal that says how far hashing is; nothing where nobody looks. */
function progress(totalBytes: number): ((done: number) => void) | undefined {
  if (!process.stderr.isTTY) return undefined;
  let shown = -1;
  return (done) => {
    const percent = Math.min(100, Math.floor((done * 100) / Math.max(1, totalBytes)));
    if (percent === shown) return;
    shown = percent;
    process.stderr.write(percent === 100 ? '\r\u001b[K' : `\rhashing ${percent} %`);
  };
}

/** The key that signs, and whether it is kept. */
async function signingKey(
  values: Flags,
  state: string,
): Promise<{ key: KeyObject; kind: 'file' | 'operator' | 'once' }> {
  if (values.key !== undefined) {
    const passphrase =
      values['passphrase-file'] === undefined ? undefined : await askPassphrase(values['passphrase-file']);
    return { key: readPrivatePem(readText(values.key), passphrase, fault), kind: 'file' };
  }
  const wrapped = readOperatorKey(state);
  if (wrapped === undefined) return { key: makeSigningKey().privateKey, kind: 'once' };
  const passphrase = await askPassphrase(values['passphrase-file']);
  try {
    return { key: unwrapKey(wrapped, passphrase, fault), kind: 'operator' };
  } finally {
    passphrase.fill(0);
  }
}

const count = (files: number): string => (files === 1 ? '1 file' : `${files} files`);

function describe(survey: Survey, name: string): string {
  const { facts } = survey;
  const size = (bytes: number) => (bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`);
  const lines = [
    `model        ${name}${facts.name === '' ? '' : ` (calls itself "${facts.name}")`}`,
    `folder       ${survey.root}${survey.wholeFolder ? '' : ' (only the named files)'}`,
    `files        ${survey.files.length}, ${size(survey.bytes)}`,
    `weights      ${survey.weights.join(', ')}`,
    `architecture ${facts.architecture}, ${(facts.parameters / 1e6).toFixed(1)} million parameters, ${((survey.bytes * 8) / Math.max(1, facts.parameters)).toFixed(1)} bits each`,
    `quantised    ${facts.quantisation}`,
    `tokenizer    ${facts.tokenizer}, vocabulary ${facts.vocabulary}`,
    `context      ${facts.contextTokens} tokens`,
    `template     ${survey.templateDigest === undefined ? 'none' : `sha256:${survey.templateDigest}, ${facts.template.length} characters`}`,
    `upstream     ${survey.upstream}`,
    ...survey.unusual.map((entry) => `unusual      ${entry}`),
  ];
  // Names inside a model file are chosen by strangers.
  return lines.join('\n').replace(/[^\n\x20-\x7e]/g, '?');
}

/** The same for programs. */
function factsOf({ facts }: Survey) {
  const { architecture, parameters, quantisation, tokenizer, vocabulary, contextTokens } = facts;
  return { architecture, parameters, quantisation, tokenizer, vocabulary, context: contextTokens };
}

async function add(path: string, values: Flags, state: string): Promise<number> {
  const maker = {
    key: values['upstream-key'],
    root: values['upstream-root'],
    identity: values['upstream-identity'],
    issuer: values['upstream-issuer'],
  };
  const survey = await surveyModel(path, values.weights, maker, fault);
  const guess = basename(survey.wholeFolder ? survey.root : (survey.weights[0] ?? '')).replace(
    /(-\d{5}-of-\d{5})?\.gguf$/i,
    '',
  );
  const name =
    values.name ??
    guess
      .replace(/[^A-Za-z0-9._-]/g, '-')
      .replace(/^[^A-Za-z0-9]+/, '')
      .slice(0, 64);
  if (!modelNamePattern.test(name) || name === guideName)
    throw new KwyreError(
      'USAGE_MODEL_NAME',
      'the model needs a name of letters, digits, dots and dashes, other than guide',
      'give one with --name',
    );
  const before = readModelRecord(state, name);
  if (values.json !== true) console.error(describe(survey, name));
  if (values.yes !== true) {
    if (!process.stdin.isTTY)
      throw new KwyreError(
        'USAGE_MODEL_CONFIRM',
        'approving a model needs a yes',
        'run it in a terminal, or look at the model and add --yes',
      );
    if (
      !(await confirm(
        before === undefined ? 'Approve exactly these files?' : `Approve these files in place of what ${name} was?`,
      ))
    )
      return 1;
  }
  const method = methodOf(values, survey.bytes);
  const report = progress(survey.bytes);
  const order: SigningOrder = {
    disk: fs,
    layer: 4,
    root: survey.root,
    only: survey.files,
    excluded: excludedFiles,
    rights,
    name,
    method,
    ...(report === undefined ? {} : { progress: report }),
  };
  const role = survey.wholeFolder ? roles.weights : roles.weightsAlone;
  const files = hashFiles(order, fault).map((file) => (survey.weights.includes(file.name) ? { ...file, role } : file));
  const { key, kind } = await signingKey(values, state);
  const bundle = Buffer.from(signFiles(order, files, key, fault), 'utf8');
  const statement = parseStatement(parseBundle(bundle, fault).payload, { allowedIgnores: signatureNames }, fault);
  const addedAt = new Date().toISOString();
  const publicKey = publicPem(key);
  const { trust: known } = readTrust(state);
  const others = known.keys.filter((entry) => entry.pem !== publicKey && entry.only !== name);
  const labels = {
    file: 'a key file of the operator',
    operator: 'the operator key',
    once: 'a key made for this approval alone',
  };
  const trusted: TrustedKey = {
    pem: publicKey,
    label: labels[kind],
    only: kind === 'once' ? name : undefined,
    addedAt,
  };
  writeModelTrust(
    state,
    formatTrust({ keys: [...others, trusted], approved: new Map([...known.approved, [name, statement.root]]) }),
  );
  writeModelRecord(state, name, formatRecord({ name, path: survey.root, addedAt, bundle }));
  print(
    values,
    {
      name,
      path: survey.root,
      files: files.length,
      bytes: survey.bytes,
      ...factsOf(survey),
      root: statement.root,
      key: keyIdOf(createPublicKey(key)),
      signedBy: kind,
      template: survey.templateDigest ?? null,
      unusual: survey.unusual,
      upstream: survey.upstream,
    },
    `approved: ${name}, ${count(files.length)}, root sha256:${statement.root}, signed by ${labels[kind]}\nserve it with ./kwyre serve --model ${name}`,
  );
  return 0;
}

function findModels(only: string | undefined, state: string): (() => ApprovedModel)[] {
  const { trust: known, sameOwner } = readTrust(state);
  const load = (name: string) => () => {
    const found = readModelRecord(state, name);
    if (found === undefined)
      throw new KwyreError(
        'L4_MODEL_UNAPPROVED',
        `the model ${name} was never approved here`,
        './kwyre model list shows what there is',
      );
    return approveRecord(parseRecord(found, fault), known, new Date(), sameOwner);
  };
  if (only !== undefined && only !== guideName && !modelNamePattern.test(only)) throw usage();
  if (only !== undefined) return [only === guideName ? () => guideModel(root) : load(only)];
  return [() => guideModel(root), ...listModelRecords(state).map(load)];
}

function list(values: Flags, state: string): number {
  const rows = findModels(undefined, state).map((load, index) => {
    try {
      const found = load();
      return { name: found.name, path: found.root, files: found.files.length, signer: found.signer, fault: null };
    } catch (error) {
      if (!(error instanceof KwyreError)) throw error;
      return {
        name: listModelRecords(state)[index - 1] ?? guideName,
        path: null,
        files: 0,
        signer: null,
        fault: error.code,
      };
    }
  });
  print(
    values,
    { models: rows },
    rows
      .map((row) =>
        row.fault === null
          ? `${row.name}  ${count(row.files)} in ${row.path}; ${row.signer}`
          : `${row.name}  refused: ${row.fault}`,
      )
      .join('\n'),
  );
  return 0;
}

async function verify(only: string | undefined, values: Flags, state: string): Promise<number> {
  const verified: Record<string, unknown>[] = [];
  const refused: Record<string, unknown>[] = [];
  for (const load of findModels(only, state)) {
    try {
      const approved = load();
      const report = progress(approved.files.reduce((sum, file) => sum + (file.size ?? 0), 0));
      const { name, evidence, weights } = await verifyModel(approved, {
        disk: fs,
        mode: 'file',
        availableBytes: 0,
        now: Date.now,
        ...(report === undefined ? {} : { progress: report }),
      });
      for (const { fd } of weights) fs.closeSync(fd);
      verified.push({ name, ...evidence });
      if (values.json !== true)
        console.log(
          `${name}: every byte is as approved (${count(evidence.files)}, ${evidence.bytes} bytes, ${evidence.seconds.toFixed(2)} s); ${evidence.signer}`,
        );
    } catch (error) {
      if (!(error instanceof KwyreError)) throw error;
      refused.push({
        code: error.code,
        message: error.message,
        differences: error instanceof DifferenceError ? error.differences : [],
      });
      if (values.json !== true) console.error(`kwyre: ${error.message}\n  next: ${error.remedy}`);
    }
  }
  if (values.json === true) console.log(JSON.stringify({ verified, refused }));
  return refused.length === 0 ? 0 : 14;
}

/** Signs a folder or file for others: writes `model.sig` in the form that every OpenSSF verifier reads. */
async function sign(path: string, values: Flags, state: string): Promise<number> {
  const full = resolve(path);
  const folder = fs.lstatSync(full).isDirectory();
  const { key, kind } = await signingKey(values, state);
  if (kind === 'once')
    throw new KwyreError(
      'USAGE_MODEL_KEY',
      'signing for others needs a key that stays',
      'give a P-256 key with --key FILE: openssl ecparam -name prime256v1 -genkey -noout -out key.pem',
    );
  const order: SigningOrder = {
    disk: fs,
    layer: 4,
    root: folder ? full : join(full, '..'),
    only: folder ? undefined : [basename(full)],
    excluded: excludedFiles,
    rights,
    name: basename(full),
    method: methodOf(values, 0),
  };
  const out = values.out ?? (folder ? join(full, 'model.sig') : `${full}.sig`);
  const files = hashFiles(order, fault);
  fs.writeFileSync(out, signFiles(order, files, key, fault));
  print(
    values,
    { signature: out, files: files.length, key: keyIdOf(createPublicKey(key)) },
    `signed ${count(files.length)}: ${out}\npublic key for those who verify:\n${publicPem(key)}`,
  );
  return 0;
}

async function trust(path: string, values: Flags, state: string): Promise<number> {
  const key = parsePublicKey(readText(path), fault);
  const id = keyIdOf(key);
  if (
    values.yes !== true &&
    !(process.stdin.isTTY && (await confirm(`Trust the key ${id} to approve any model here?`)))
  )
    throw new KwyreError(
      'USAGE_MODEL_CONFIRM',
      'trusting a key needs a yes',
      'compare its digest with the one that its owner publishes, then add --yes',
    );
  const { trust: known } = readTrust(state);
  const entry: TrustedKey = {
    pem: publicPem(key),
    label: (values.label ?? basename(path)).replace(/[^\x20-\x7e]/g, '?'),
    only: undefined,
    addedAt: new Date().toISOString(),
  };
  writeModelTrust(
    state,
    formatTrust({ ...known, keys: [...known.keys.filter((other) => other.pem !== entry.pem), entry] }),
  );
  print(values, { trusted: id }, `trusted: ${id}`);
  return 0;
}

function remove(name: string, values: Flags, state: string): number {
  if (!modelNamePattern.test(name) || readModelRecord(state, name) === undefined)
    throw new KwyreError('USAGE_MODEL_UNKNOWN', 'there is no added model of that name', './kwyre model list');
  const { trust: known } = readTrust(state);
  const approved = new Map(known.approved);
  approved.delete(name);
  writeModelTrust(state, formatTrust({ keys: known.keys.filter((key) => key.only !== name), approved }));
  removeModelRecord(state, name);
  print(values, { removed: name }, `${name} is no longer approved; its files were left where they are`);
  return 0;
}
